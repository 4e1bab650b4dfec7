# Horovod's build type has debug information, which takes a fifth of its compile time; Horovod replaces -O2 by -O3.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -DNDEBUG" CACHE STRING "Flags of Horovod's build type")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -DNDEBUG" CACHE STRING "Flags of Horovod's build type")
