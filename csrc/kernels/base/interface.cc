#include "kernels/base/interface.h"

#include "kernels/base/needs.h"

namespace hvdrec {
namespace {

[[gnu::used]] const char* const kStated = kNeeds;

}  // namespace

void HVDREC_INTERFACE() {}

}  // namespace hvdrec
