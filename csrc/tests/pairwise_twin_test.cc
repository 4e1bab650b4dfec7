// Runs the CUDA versions of the losses on an emulated machine and compares them with the CPU's
// kernels.

#include <cstring>
#include <limits>

#include "kernels/pairwise/gpu/twin.h"
#include "tests/emulated_machine.h"
#include "tests/loss_cases.h"
#include "tests/tally.h"

namespace hvdrec {
namespace {

// The errors that the sums of panels of both sides allow, in float's tolerance and in double's.
template <typename T>
constexpr double kTolerance = sizeof(T) == sizeof(float) ? 2e-7 : 1e-10;

template <typename T>
void CheckPairwiseCase(const PairwiseCase& c, Tally* tally) {
  const PairwiseInput<T> input(c);
  std::vector<T> expected = Unwritten<T>(input.scores.size()), found = expected, again = expected;
  const PairwiseRows<T> rows{input.scores.data(), input.labels.data(),
                             c.weighted ? input.weights.data() : nullptr,
                             c.sessions > 0 ? input.sessions.data() : nullptr, c.rows};
  const PairwiseResult cpu = Pairwise<T>(rows, c.options, Serial(), expected.data());
  EmulatedMachine first(1), second(2);
  const PairwiseResult twin = RunPairwiseTwin(rows, c.options, first, found.data());
  const PairwiseResult other = RunPairwiseTwin(rows, c.options, second, again.data());
  const double loss = Difference(twin.loss, cpu.loss), gradient = Difference(found, expected);
  const bool same = twin.loss == other.loss && found == again;
  tally->Count(same && twin.pairs == cpu.pairs && twin.bad_row == -1 && loss <= kTolerance<T> &&
                   gradient <= kTolerance<T>,
               c.Name() + (same ? "" : ", depends on the order of threads"), loss, gradient);
}

std::vector<PairwiseOptions> PairwiseForms() {
  std::vector<PairwiseOptions> options;
  for (const PairLoss loss : {PairLoss::kLogistic, PairLoss::kFocal, PairLoss::kHinge,
                              PairLoss::kSquaredHinge, PairLoss::kSquare}) {
    PairwiseOptions o;
    o.loss = loss;
    options.push_back(o);
    o.margin = 0.7;
    o.temperature = 2;
    o.label_scale = 0.3;
    options.push_back(o);
  }
  return options;
}

void CheckPairwiseForms(bool small, Tally* tally) {
  const std::vector<int64_t> sizes = small ? std::vector<int64_t>{0, 1, 2, 37, 700}
                                           : std::vector<int64_t>{0, 1, 2, 37, 511, 513, 5000};
  for (const PairwiseOptions& o : PairwiseForms()) {
    for (const int64_t rows : sizes) {
      for (const double spread : {0.0, 2.0, 1e5}) {
        for (const int64_t sessions : {int64_t{0}, int64_t{2}, rows / 4}) {
          CheckPairwiseCase<float>({rows, 2, sessions, sessions > 0, spread, o}, tally);
          CheckPairwiseCase<double>({rows, 5, sessions, sessions == 0, spread, o}, tally);
          if (rows < 1000) CheckPairwiseCase<float>({rows, 0, sessions, true, spread, o}, tally);
        }
      }
    }
  }
  // More rows in a bin than in a piece.
  CheckPairwiseCase<float>({9000, 2, 0, true, 0.3, {}}, tally);
}

// Forms that leave pairs out.
std::vector<PairwiseOptions> CutForms() {
  std::vector<PairwiseOptions> options;
  for (const PairLoss loss : {PairLoss::kLogistic, PairLoss::kFocal, PairLoss::kHinge}) {
    for (const double margin : {0.0, 0.7, -3.0, 45.0}) {
      PairwiseOptions o;
      o.loss = loss;
      o.margin = margin;
      if (margin == 0.7) o.label_scale = 0.25;
      if (margin == -3) o.temperature = 2;
      for (const double hardest : {0.9, 0.3, 0.01}) {
        o.hardest = hardest;
        options.push_back(o);
      }
      if (loss == PairLoss::kHinge) continue;
      for (const double limit : {-2.0, 0.0, 1.5, 60.0}) {
        o.limit = limit;
        o.hardest = 1;
        options.push_back(o);
      }
      o.hardest = 0.5;
      o.limit = 1.5;
      options.push_back(o);
    }
  }
  return options;
}

void CheckCutForms(bool small, Tally* tally) {
  const std::vector<int64_t> sizes =
      small ? std::vector<int64_t>{0, 1, 37, 700} : std::vector<int64_t>{0, 1, 2, 37, 511, 1500};
  for (const PairwiseOptions& o : CutForms()) {
    for (const int64_t rows : sizes) {
      for (const double spread : {0.0, 2.0, 1e5}) {
        CheckPairwiseCase<float>({rows, 2, 0, true, spread, o, true}, tally);
        CheckPairwiseCase<double>({rows, 2, 0, false, spread, o}, tally);
        CheckPairwiseCase<double>({rows, 5, 2, true, spread, o}, tally);
        if (!small) CheckPairwiseCase<float>({rows, 0, rows / 4, true, spread, o}, tally);
        if (!small) CheckPairwiseCase<double>({rows, 0, 0, true, spread, o, true}, tally);
      }
    }
  }
  // Several levels by panels, with upper bins that no pair is left to.
  for (const double spread : {0.3, 8.0, 100.0}) {
    PairwiseOptions o;
    o.loss = PairLoss::kFocal;
    o.gamma = 6;
    o.limit = -1;
    CheckPairwiseCase<float>({2600, 4, 0, true, spread, o}, tally);
    o.hardest = 0.05;
    CheckPairwiseCase<double>({2600, 4, 0, true, spread, o, true}, tally);
  }
  // More entries in a group, and in a block's list, than in a piece; the smallest share.
  PairwiseOptions o;
  o.limit = 0.5;
  CheckPairwiseCase<double>({9000, 2, 0, true, 0.0, o}, tally);
  o.hardest = 0.4;
  CheckPairwiseCase<double>({9000, 2, 0, true, 0.3, o}, tally);
  o.hardest = 1e-12;
  CheckPairwiseCase<double>({700, 2, 0, true, 2.0, o}, tally);
}

// Of two pairs whose leads are neighbours among doubles the harder one is kept.
void CheckNeighbours(Tally* tally) {
  const double near = std::nextafter(1.0, 2.0);
  const std::vector<double> scores{0, 1, near}, labels{1, 0, 0};
  std::vector<double> gradient = Unwritten<double>(3);
  PairwiseOptions o;
  o.hardest = 0.5;
  EmulatedMachine machine(1);
  const PairwiseRows<double> rows{scores.data(), labels.data(), nullptr, nullptr, 3};
  const PairwiseResult found = RunPairwiseTwin(rows, o, machine, gradient.data());
  tally->Count(found.pairs == 1 && gradient[1] == 0 && gradient[2] > 0, "neighbouring leads", 0, 0);
}

void CheckPairwiseBadRow(Tally* tally) {
  PairwiseInput<float> input({100, 2, 0, true, 1.0, {}});
  input.weights[70] = std::numeric_limits<float>::infinity();
  input.scores[40] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> gradient(100);
  EmulatedMachine machine(1);
  const PairwiseRows<float> rows{input.scores.data(), input.labels.data(), input.weights.data(),
                                 nullptr, 100};
  const PairwiseResult found = RunPairwiseTwin(rows, {}, machine, gradient.data());
  const bool nan =
      std::all_of(gradient.begin(), gradient.end(), [](float value) { return std::isnan(value); });
  tally->Count(found.bad_row == 40 && std::isnan(found.loss) && nan, "pairwise, bad row", 0, 0);
}

int Run(bool small) {
  Tally tally;
  CheckPairwiseForms(small, &tally);
  CheckCutForms(small, &tally);
  CheckNeighbours(&tally);
  CheckPairwiseBadRow(&tally);
  return tally.End("pairwise twin");
}

}  // namespace
}  // namespace hvdrec

int main(int argc, char** argv) {
  return hvdrec::Run(argc > 1 && std::strcmp(argv[1], "--short") == 0);
}
