#include "kernels/pairwise/table.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace hvdrec {
namespace {

// Beyond this distance softplus is 0 or linear to the last bit of a double.
constexpr double kFar = 40;

struct Shape {
  double width;
  int order;
};
// From cheap to accurate. The orders are those that kernels/pairwise/panels.cc is compiled for.
constexpr Shape kShapes[] = {{1, 8}, {1, 12}, {0.5, 12}, {0.25, 12}, {0.125, 12}, {0.0625, 12}};

class Builder {
 public:
  Builder(const PairFunction& f, Shape shape) : f_(f), p_(shape.order), width_(shape.width) {
    for (int a = 0; a < p_; ++a) nodes_.push_back(std::cos(M_PI * (a + 0.5) / p_));
    for (int k = 0; k < p_; ++k) {
      for (int a = 0; a < p_; ++a) {
        to_coefficients_.push_back((k == 0 ? 1.0 : 2.0) / p_ * std::cos(M_PI * k * (a + 0.5) / p_));
      }
    }
    for (int a = 0; a <= p_; ++a) {
      for (int k = 0; k < p_; ++k) between_.push_back(std::cos(M_PI * k * a / p_));
    }
  }

  PairTable Build() const {
    PairTable table;
    table.order = p_;
    table.width = width_;
    table.margin = f_.margin;
    table.first = static_cast<int64_t>(std::floor((f_.margin - kFar) / width_)) - 1;
    table.last = static_cast<int64_t>(std::ceil((f_.margin + kFar) / width_)) + 1;
    const size_t size = static_cast<size_t>(p_) * p_;
    const size_t count = static_cast<size_t>(table.last - table.first + 1);
    for (auto* each : {&table.value, &table.slope, &table.slope_transposed}) {
      each->resize(count * size);
    }
    for (int64_t d = table.first; d <= table.last; ++d) {
      const size_t at = static_cast<size_t>(d - table.first) * size;
      Fit(d, &table.value[at], &table.slope[at]);
      for (int l = 0; l < p_; ++l) {
        for (int k = 0; k < p_; ++k) {
          table.slope_transposed[at + static_cast<size_t>(k * p_ + l)] =
              table.slope[at + static_cast<size_t>(l * p_ + k)];
        }
      }
      table.error = std::max(table.error, Error(d, &table.value[at], &table.slope[at]));
    }
    return table;
  }

 private:
  double Lead(int64_t d, double x, double y) const {
    return width_ * (static_cast<double>(d) + (x - y) / 2);
  }

  // Coefficients [l][k] of f and its derivative at panel distance d.
  void Fit(int64_t d, double* value, double* slope) const {
    std::vector<double> at_nodes(static_cast<size_t>(p_ * p_)), slope_at_nodes(at_nodes);
    for (int a = 0; a < p_; ++a) {
      for (int b = 0; b < p_; ++b) {
        Doubles v, s;
        f_(Fill(Lead(d, nodes_[a], nodes_[b])), &v, &s);
        at_nodes[static_cast<size_t>(b * p_ + a)] = v[0];
        slope_at_nodes[static_cast<size_t>(b * p_ + a)] = s[0];
      }
    }
    Transform(at_nodes, value);
    Transform(slope_at_nodes, slope);
  }

  // [b][a] at nodes to [l][k] of coefficients.
  void Transform(const std::vector<double>& at_nodes, double* out) const {
    std::vector<double> half(static_cast<size_t>(p_ * p_));
    for (int b = 0; b < p_; ++b) {
      for (int k = 0; k < p_; ++k) {
        double sum = 0;
        for (int a = 0; a < p_; ++a) {
          sum += to_coefficients_[static_cast<size_t>(k * p_ + a)] *
                 at_nodes[static_cast<size_t>(b * p_ + a)];
        }
        half[static_cast<size_t>(b * p_ + k)] = sum;
      }
    }
    for (int l = 0; l < p_; ++l) {
      for (int k = 0; k < p_; ++k) {
        double sum = 0;
        for (int b = 0; b < p_; ++b) {
          sum += to_coefficients_[static_cast<size_t>(l * p_ + b)] *
                 half[static_cast<size_t>(b * p_ + k)];
        }
        out[l * p_ + k] = sum;
      }
    }
  }

  // The largest error between the nodes, where it is largest, relative to the panel's largest
  // value.
  double Error(int64_t d, const double* value, const double* slope) const {
    double worst = 0, worst_slope = 0, scale = 1e-300, scale_slope = 1e-300;
    for (int a = 0; a <= p_; ++a) {
      for (int b = 0; b <= p_; ++b) {
        const double x = std::cos(M_PI * a / p_), y = std::cos(M_PI * b / p_);
        Doubles v, s;
        f_(Fill(Lead(d, x, y)), &v, &s);
        worst = std::max(worst, std::abs(v[0] - Evaluate(value, a, b)));
        worst_slope = std::max(worst_slope, std::abs(s[0] - Evaluate(slope, a, b)));
        scale = std::max(scale, std::abs(v[0]));
        scale_slope = std::max(scale_slope, std::abs(s[0]));
      }
    }
    return std::max(worst / scale, worst_slope / scale_slope);
  }

  double Evaluate(const double* c, int a, int b) const {
    double sum = 0;
    for (int l = 0; l < p_; ++l) {
      double row = 0;
      for (int k = 0; k < p_; ++k) row += c[l * p_ + k] * between_[static_cast<size_t>(a * p_ + k)];
      sum += row * between_[static_cast<size_t>(b * p_ + l)];
    }
    return sum;
  }

  const PairFunction f_;
  const int p_;
  const double width_;
  // Chebyshev nodes; the matrix from values there to coefficients; polynomials between the nodes.
  std::vector<double> nodes_, to_coefficients_, between_;
};

}  // namespace

std::shared_ptr<const PairTable> GetPairTable(const PairFunction& f, double tolerance) {
  using Key = std::tuple<int, double, double, double>;
  static std::mutex* const mutex = new std::mutex;
  static auto* const tables = new std::map<Key, std::shared_ptr<const PairTable>>;
  const Key key{static_cast<int>(f.loss), f.margin, f.gamma, tolerance};
  const std::lock_guard<std::mutex> lock(*mutex);
  const auto found = tables->find(key);
  if (found != tables->end()) return found->second;
  std::shared_ptr<const PairTable> table;
  for (const Shape& shape : kShapes) {
    table = std::make_shared<const PairTable>(Builder(f, shape).Build());
    if (table->error <= tolerance) break;
  }
  if (table->error > tolerance) throw std::invalid_argument("gamma is too large for a panel sum");
  // A loss always has the same parameters; more than a few tables mean a search over parameters.
  if (tables->size() >= 64) tables->clear();
  tables->emplace(key, table);
  return table;
}

}  // namespace hvdrec
