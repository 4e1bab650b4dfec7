#include "kernels/lists/lists.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "kernels/base/logistic.h"
#include "kernels/base/scratch.h"
#include "kernels/base/sessions.h"

namespace hvdrec {
namespace {

// Sessions are processed in pieces of about this many rows.
constexpr int64_t kPieceRows = 2048;

// The rows of one session.
struct Rows {
  const int32_t* begin_;
  const int32_t* end_;
  const int32_t* begin() const { return begin_; }
  const int32_t* end() const { return end_; }
  int64_t size() const { return end_ - begin_; }
};

// Adds up work(rows of a session, number of sessions) over all sessions, piece by piece.
template <typename Work>
double OverSessions(const int64_t* sessions, int64_t count, const Parallel& parallel,
                    const Work& work) {
  if (count == 0) return 0;
  if (count > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("lists: more than 2^31 - 1 rows");
  }
  Scratch<int32_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<Group> groups{{0, count}};
  if (sessions != nullptr) groups = GroupBySession(sessions, &rows);
  std::vector<size_t> pieces{0};
  for (size_t g = 0, begun = 0; g < groups.size(); ++g) {
    if (groups[g].end - groups[begun].begin >= kPieceRows) pieces.push_back(begun = g + 1);
  }
  if (pieces.back() != groups.size()) pieces.push_back(groups.size());
  std::vector<double> sums(pieces.size() - 1, 0);
  parallel.Run(static_cast<int64_t>(sums.size()), [&](int64_t piece) {
    const auto p = static_cast<size_t>(piece);
    for (size_t g = pieces[p]; g < pieces[p + 1]; ++g) {
      const Rows own{rows.data() + groups[g].begin, rows.data() + groups[g].end};
      sums[p] += work(own, static_cast<double>(groups.size()));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// log of the sum of exp(value(row)) over the rows that count; minus infinity if none does.
template <typename Value, typename Counts>
double LogSumExp(const Rows& rows, const Value& value, const Counts& counts) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const int32_t i : rows) {
    if (counts(i)) most = std::max<double>(most, value(i));
  }
  for (const int32_t i : rows) {
    if (counts(i)) sum += std::exp(value(i) - most);
  }
  return sum == 0 ? most : most + std::log(sum);
}

bool All(int32_t) { return true; }

}  // namespace

ListLabels ParseListLabels(const std::string& name) {
  if (name == "shares") return ListLabels::kShares;
  if (name == "logits") return ListLabels::kLogits;
  if (name == "masses") return ListLabels::kMasses;
  throw std::invalid_argument("form must be shares, logits or masses, not " + name);
}

template <typename T>
double Listwise(const ListRows<T>& rows, ListLabels form, const Parallel& parallel, T* gradient) {
  return OverSessions(rows.sessions, rows.count, parallel, [&](const Rows& own, double sessions) {
    const auto score = [&](int32_t i) { return static_cast<double>(rows.scores[i]); };
    const auto label = [&](int32_t i) { return static_cast<double>(rows.labels[i]); };
    double shift = 0, scale = 1;
    if (form == ListLabels::kLogits) shift = LogSumExp(own, label, All);
    if (form == ListLabels::kMasses) {
      double sum = 0;
      for (const int32_t i : own) sum += label(i);
      scale = sum == 0 ? 0 : 1 / sum;
    }
    const auto share = [&](int32_t i) {
      return form == ListLabels::kLogits ? std::exp(label(i) - shift) : label(i) * scale;
    };
    const double all = LogSumExp(own, score, All);
    double shares = 0, loss = 0;
    for (const int32_t i : own) {
      const double t = share(i);
      shares += t;
      loss -= t * (score(i) - all);
    }
    for (const int32_t i : own) {
      gradient[i] = static_cast<T>((shares * std::exp(score(i) - all) - share(i)) / sessions);
    }
    return loss / sessions;
  });
}

template <typename T>
double Hybrid(const HybridRows<T>& rows, bool same_label, const Parallel& parallel, T* gradient) {
  const double count = static_cast<double>(rows.count);
  const auto weight = [&](int32_t i) {
    return rows.weights == nullptr ? 1.0 : static_cast<double>(rows.weights[i]);
  };
  const auto session = [&](const Rows& own, double) {
    double mean = 0, loss = 0;
    for (const int32_t i : own) mean += weight(i) / static_cast<double>(own.size());
    for (const int32_t column : {0, 1}) {
      const auto logit = [&](int32_t i) {
        return static_cast<double>(rows.logits[2 * i + column]);
      };
      const auto has = [&](int32_t i) { return (rows.labels[i] == 1) == (column == 1); };
      const auto slope = [&](int32_t i) -> T& { return gradient[2 * i + column]; };
      if (same_label) {
        const double all = LogSumExp(own, logit, All);
        double with = 0;
        for (const int32_t i : own) {
          if (!has(i)) continue;
          ++with;
          loss -= mean * (logit(i) - all);
        }
        for (const int32_t i : own) {
          const double pulled = with * std::exp(logit(i) - all) - (has(i) ? 1 : 0);
          slope(i) = static_cast<T>(mean * pulled / count);
        }
        continue;
      }
      const double others = LogSumExp(own, logit, [&](int32_t i) { return !has(i); });
      double pushed = 0;
      for (const int32_t i : own) {
        if (!has(i)) continue;
        const double lag = others - logit(i), push = weight(i) * Sigmoid(lag);
        loss += weight(i) * Softplus(lag);
        pushed += push;
        slope(i) = static_cast<T>(-push / count);
      }
      for (const int32_t i : own) {
        if (!has(i)) slope(i) = static_cast<T>(pushed * std::exp(logit(i) - others) / count);
      }
    }
    return loss / count;
  };
  return OverSessions(rows.sessions, rows.count, parallel, session);
}

template double Listwise<float>(const ListRows<float>&, ListLabels, const Parallel&, float*);
template double Listwise<double>(const ListRows<double>&, ListLabels, const Parallel&, double*);
template double Hybrid<float>(const HybridRows<float>&, bool, const Parallel&, float*);
template double Hybrid<double>(const HybridRows<double>&, bool, const Parallel&, double*);

}  // namespace hvdrec
