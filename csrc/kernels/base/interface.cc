#include "kernels/base/interface.h"

namespace hvdrec {

void HVDREC_INTERFACE() {}

}  // namespace hvdrec
