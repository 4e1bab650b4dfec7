// Which build a library of kernels belongs to.

#ifndef HVDREC_KERNELS_BASE_INTERFACE_H_
#define HVDREC_KERNELS_BASE_INTERFACE_H_

// CMakeLists.txt sets it to a name that changes with any header of the kernels.
#ifndef HVDREC_INTERFACE
#define HVDREC_INTERFACE interface_unknown
#endif

namespace hvdrec {

// Does nothing. Adapters refer to it, so that the loader refuses them beside kernels of another
// build, whose classes may have other members.
void HVDREC_INTERFACE();

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_INTERFACE_H_
