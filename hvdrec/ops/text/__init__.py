"""Operations on texts: tensors of strings, one text per row. None of them has a gradient.

Each has a native kernel (csrc/kernels/text) and a version in TensorFlow's own operations, which exported
models use and tests compare with the kernel.
"""
