// Runs the kernels of lists over a grid of inputs and compares them with plain loops over contexts.
// Made for sanitizers (`make sanitize`), which report buffer overruns and overflows as errors.

#include "kernels/lists/lists.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "tests/outputs.h"

namespace hvdrec {
namespace {

int cases = 0;
int failures = 0;

void Near(const char* what, double found, double expected, double tolerance) {
  if (std::abs(found - expected) <= tolerance * (1 + std::abs(expected))) return;
  std::printf("%s: %.17g, expected %.17g\n", what, found, expected);
  ++failures;
}

struct Case {
  std::vector<double> logits, labels, weights;
  std::vector<int32_t> classes;
  std::vector<int64_t> sessions;
  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
};

Case Make(int64_t rows, int64_t sessions, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Case made;
  for (int64_t i = 0; i < rows; ++i) {
    made.logits.push_back(3 * normal(random));
    made.logits.push_back(3 * normal(random));
    made.labels.push_back(std::abs(normal(random)));
    made.weights.push_back(static_cast<double>(random() % 3));
    made.classes.push_back(static_cast<int32_t>(random() % 2));
    made.sessions.push_back(static_cast<int64_t>(random() % sessions) * (int64_t{1} << 40));
  }
  return made;
}

// As JRC defines it: a context for each row.
double HybridByContexts(const Case& c, bool same_label) {
  double total = 0;
  for (int64_t j = 0; j < c.rows(); ++j) {
    double value = 0, count = 0;
    for (int column = 0; column < 2; ++column) {
      double sum = 0;
      for (int64_t i = 0; i < c.rows(); ++i) {
        if (c.sessions[i] != c.sessions[j]) continue;
        if (!same_label && i != j && c.classes[i] == c.classes[j]) continue;
        sum += std::exp(c.logits[2 * i + column]);
      }
      for (int64_t i = 0; i < c.rows(); ++i) {
        if (c.sessions[i] != c.sessions[j] || c.classes[i] != column) continue;
        if (!same_label && i != j) continue;
        value -= c.logits[2 * i + column] - std::log(sum);
        ++count;
      }
    }
    double context = 0;
    for (int64_t i = 0; i < c.rows(); ++i) context += c.sessions[i] == c.sessions[j];
    total += c.weights[j] * (same_label ? value / context : value);
  }
  return c.rows() ? total / static_cast<double>(c.rows()) : 0;
}

double HybridOf(const Case& c, bool same_label, const Parallel& parallel,
                std::vector<double>* gradient) {
  *gradient = Unwritten<double>(c.logits.size());
  const HybridRows<double> rows{c.logits.data(), c.classes.data(), c.weights.data(),
                                c.sessions.data(), c.rows()};
  return Hybrid<double>(rows, same_label, parallel, gradient->data());
}

void CheckHybrid(int64_t rows, int64_t sessions, bool same_label) {
  Case c = Make(rows, sessions, static_cast<unsigned>(rows + 7 * sessions));
  std::vector<double> gradient, again, unused;
  const double loss = HybridOf(c, same_label, Serial(), &gradient);
  Near("hybrid", loss, HybridByContexts(c, same_label), 1e-12);
  Near("hybrid on threads", HybridOf(c, same_label, OwnThreads(3), &again), loss, 0);
  // memcmp doesn't accept the null pointers of empty vectors.
  if (!gradient.empty() &&
      std::memcmp(again.data(), gradient.data(), gradient.size() * sizeof(double)) != 0) {
    std::printf("hybrid: the gradient depends on the number of threads\n");
    ++failures;
  }
  for (size_t i = 0; i < c.logits.size(); i += 1 + c.logits.size() / 40) {
    const double kept = c.logits[i], step = 1e-5;
    c.logits[i] = kept + step;
    const double above = HybridOf(c, same_label, Serial(), &unused);
    c.logits[i] = kept - step;
    const double below = HybridOf(c, same_label, Serial(), &unused);
    c.logits[i] = kept;
    Near("hybrid's slope", gradient[i], (above - below) / (2 * step), 1e-7);
  }
}

void CheckListwise(int64_t rows, int64_t sessions, ListLabels form) {
  const Case c = Make(rows, sessions, static_cast<unsigned>(3 * rows + sessions));
  std::vector<double> scores(c.labels.size()), gradient = Unwritten<double>(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = c.logits[2 * i];
  const auto of = [&](const std::vector<double>& s, const Parallel& parallel, double* slopes) {
    return Listwise<double>({s.data(), c.labels.data(), c.sessions.data(), c.rows()}, form,
                            parallel, slopes);
  };
  const double loss = of(scores, Serial(), gradient.data());
  double expected = 0, count = 0;
  std::vector<bool> seen(scores.size());
  for (size_t j = 0; j < scores.size(); ++j) {
    if (seen[j]) continue;
    double sum = 0, masses = 0, exponentials = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (c.sessions[i] != c.sessions[j]) continue;
      sum += std::exp(scores[i]);
      masses += c.labels[i];
      exponentials += std::exp(c.labels[i]);
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      if (c.sessions[i] != c.sessions[j]) continue;
      seen[i] = true;
      double t = c.labels[i];
      if (form == ListLabels::kLogits) t = std::exp(t) / exponentials;
      if (form == ListLabels::kMasses) t = t / masses;
      expected -= t * (scores[i] - std::log(sum));
    }
    ++count;
  }
  Near("listwise", loss, count ? expected / count : 0, 1e-12);
  std::vector<double> again = Unwritten<double>(scores.size());
  Near("listwise on threads", of(scores, OwnThreads(3), again.data()), loss, 0);
  if (!gradient.empty() &&
      std::memcmp(again.data(), gradient.data(), gradient.size() * sizeof(double)) != 0) {
    std::printf("listwise: the gradient depends on the number of threads\n");
    ++failures;
  }
  for (size_t i = 0; i < scores.size(); i += 1 + scores.size() / 40) {
    std::vector<double> above = scores, below = scores;
    above[i] += 1e-5;
    below[i] -= 1e-5;
    const double slope =
        (of(above, Serial(), again.data()) - of(below, Serial(), again.data())) / 2e-5;
    Near("listwise's slope", gradient[i], slope, 1e-7);
  }
}

}  // namespace
}  // namespace hvdrec

int main() {
  for (const int64_t rows : {0, 1, 2, 60, 5000}) {
    for (const int64_t sessions : {1, 3, 1000}) {
      // The loops over contexts take the square of a session's rows.
      if (rows > 1000 && sessions < 1000) continue;
      for (const bool same_label : {true, false}) {
        hvdrec::CheckHybrid(rows, sessions, same_label);
        ++hvdrec::cases;
      }
      for (const auto form : {hvdrec::ListLabels::kShares, hvdrec::ListLabels::kLogits,
                              hvdrec::ListLabels::kMasses}) {
        hvdrec::CheckListwise(rows, sessions, form);
        ++hvdrec::cases;
      }
    }
  }
  std::printf("lists: %d cases, %d failed\n", hvdrec::cases, hvdrec::failures);
  return hvdrec::failures != 0;
}
