#include "kernels/base/interface.h"
#include "tensorflow/core/public/version.h"

// hvdrec/ops/library.py searches the file for this text before it loads it: with another
// TensorFlow the loader's own message would be about a missing symbol.
extern "C" __attribute__((used, visibility("default"))) const char kHvdrecBuiltFor[] =
    "hvdrec was built for TensorFlow " TF_STR(TF_MAJOR_VERSION) "." TF_STR(
        TF_MINOR_VERSION) "." TF_STR(TF_PATCH_VERSION) TF_VERSION_SUFFIX ";";

// A reference that the loader resolves at once.
extern "C" __attribute__((used, visibility("default"))) void (*const kHvdrecInterface)() =
    &hvdrec::HVDREC_INTERFACE;
