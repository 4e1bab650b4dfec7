// The CUDA versions of the losses as C functions, for bench/gpu/losses.py: for float32 and a stream
// of the caller, with scratch that is kept.
//
// Each function returns 0, or 1 if it failed: hvdrec_error() then returns the reason.

#include <exception>
#include <string>

#include "kernels/gpu/gpu_losses.h"
#include "tests/arena_scratch.h"

namespace hvdrec {
namespace {

ArenaScratch& Scratch() {
  static ArenaScratch* const scratch = new ArenaScratch;  // the driver may end before it would
  return *scratch;
}

std::string& Error() {
  static std::string error;
  return error;
}

template <typename Body>
int Try(void* stream, const Body& body) {
  try {
    Scratch().Rewind();
    body(Gpu{static_cast<CUstream_st*>(stream), &Scratch()});
    return 0;
  } catch (const std::exception& error) {
    Error() = error.what();
    return 1;
  }
}

}  // namespace
}  // namespace hvdrec

extern "C" {

const char* hvdrec_error() { return hvdrec::Error().c_str(); }

// Bytes of scratch that the last call used.
size_t hvdrec_scratch_bytes() { return hvdrec::Scratch().handed_out(); }

int hvdrec_pairwise(void* stream, const char* kind, double hardest, int64_t rows,
                    const float* scores, const float* labels, float* gradient, double* loss) {
  return hvdrec::Try(stream, [&](const hvdrec::Gpu& gpu) {
    hvdrec::PairwiseOptions options;
    options.loss = hvdrec::ParsePairLoss(kind);
    options.margin = options.loss == hvdrec::PairLoss::kHinge ? 1 : 0;
    options.hardest = hardest;
    const hvdrec::PairwiseRows<float> batch{scores, labels, nullptr, nullptr, rows};
    *loss = hvdrec::Pairwise(batch, options, gpu, gradient).loss;
  });
}

int hvdrec_circle(void* stream, double margin, double gamma, int64_t rows, int64_t dim,
                  const float* embeddings, const int64_t* labels, float* gradient, double* loss) {
  return hvdrec::Try(stream, [&](const hvdrec::Gpu& gpu) {
    const hvdrec::SimilarityBatch<float> batch{embeddings, labels, nullptr, rows, dim, 0, rows};
    *loss = hvdrec::CircleLoss(batch, hvdrec::CircleOptions{margin, gamma}, gpu, gradient).loss;
  });
}

// Mined if `eps` is at least 0.
int hvdrec_multi_similarity(void* stream, double alpha, double beta, double lambda, double eps,
                            int64_t rows, int64_t dim, const float* embeddings,
                            const int64_t* labels, float* gradient, double* loss) {
  return hvdrec::Try(stream, [&](const hvdrec::Gpu& gpu) {
    const hvdrec::SimilarityBatch<float> batch{embeddings, labels, nullptr, rows, dim, 0, rows};
    const hvdrec::MultiSimilarityOptions options{alpha, beta, lambda, eps >= 0, eps};
    *loss = hvdrec::MultiSimilarityLoss(batch, options, gpu, gradient).loss;
  });
}

int hvdrec_in_batch_softmax(void* stream, double temperature, int64_t rows, int64_t dim,
                            const float* queries, const float* items, float* query_gradient,
                            float* item_gradient, double* loss) {
  return hvdrec::Try(stream, [&](const hvdrec::Gpu& gpu) {
    const hvdrec::SoftmaxBatch<float> batch{queries, items, nullptr, nullptr,
                                            rows,    rows,  dim,     temperature};
    *loss = hvdrec::InBatchSoftmax(batch, gpu, query_gradient, item_gradient).loss;
  });
}

}  // extern "C"
