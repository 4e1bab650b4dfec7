// ExprFeature: a number computed from several inputs, by a stack machine over tiles of rows.
//
// An operation without a finite value (a division by 0, the logarithm of a negative number) puts
// NaN on the stack. Everything computed from it is NaN, except if & has a 0 or | a 1 as the other
// operand, which alone determines the result. A row whose result is NaN is a bad row.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <stdexcept>

#include "kernels/features/feature.h"

namespace hvdrec {
namespace {

// Rows of a tile: a few levels of the stack fit in the first-level cache.
constexpr int64_t kTile = 256;
constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double Defined(double x) { return std::isfinite(x) ? x : kUndefined; }
bool Missing(double a, double b) { return std::isnan(a) || std::isnan(b); }

double Negate(double x) { return -x; }
double Identity(double x) { return x; }
double Abs(double x) { return std::fabs(x); }
double Exp(double x) { return std::exp(x); }
double Expm1(double x) { return std::expm1(x); }
double Log(double x) { return std::log(x); }
double Log1p(double x) { return std::log1p(x); }
double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double Sign(double x) {
  return std::isnan(x) ? x : static_cast<double>(x > 0.0) - static_cast<double>(x < 0.0);
}
double Sqrt(double x) { return std::sqrt(x); }
double Square(double x) { return x * x; }
double Tanh(double x) { return std::tanh(x); }

double Add(double a, double b) { return Defined(a + b); }
double Subtract(double a, double b) { return Defined(a - b); }
double Multiply(double a, double b) { return Defined(a * b); }
double Divide(double a, double b) { return Defined(a / b); }
double Greater(double a, double b) { return Missing(a, b) ? kUndefined : a > b; }
double GreaterEqual(double a, double b) { return Missing(a, b) ? kUndefined : a >= b; }
double Less(double a, double b) { return Missing(a, b) ? kUndefined : a < b; }
double LessEqual(double a, double b) { return Missing(a, b) ? kUndefined : a <= b; }
double Equal(double a, double b) { return Missing(a, b) ? kUndefined : a == b; }
double And(double a, double b) { return a == 0.0 || b == 0.0 ? 0.0 : a * b; }
double Or(double a, double b) { return a == 1.0 || b == 1.0 ? 1.0 : a + b; }

// These replace the first operand by the result.
using Unary = void (*)(double* x, int64_t count);
using Binary = void (*)(double* left, const double* right, int64_t count);

template <double (*function)(double)>
void Each(double* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = Defined(function(x[i]));
}

template <double (*function)(double, double)>
void EachPair(double* left, const double* right, int64_t count) {
  for (int64_t i = 0; i < count; ++i) left[i] = function(left[i], right[i]);
}

struct NamedUnary {
  const char* name;
  Unary run;
};

constexpr NamedUnary kUnary[] = {
    {"negate", Each<Negate>}, {"identity", Each<Identity>}, {"abs", Each<Abs>},
    {"exp", Each<Exp>},       {"expm1", Each<Expm1>},       {"log", Each<Log>},
    {"log1p", Each<Log1p>},   {"sigmoid", Each<Sigmoid>},   {"sign", Each<Sign>},
    {"sqrt", Each<Sqrt>},     {"square", Each<Square>},     {"tanh", Each<Tanh>},
};

struct NamedBinary {
  const char* name;
  Binary run;
};

constexpr NamedBinary kBinary[] = {
    {"add", EachPair<Add>},
    {"subtract", EachPair<Subtract>},
    {"multiply", EachPair<Multiply>},
    {"divide", EachPair<Divide>},
    {"greater", EachPair<Greater>},
    {"greater_equal", EachPair<GreaterEqual>},
    {"less", EachPair<Less>},
    {"less_equal", EachPair<LessEqual>},
    {"equal", EachPair<Equal>},
    {"and", EachPair<And>},
    {"or", EachPair<Or>},
};

// One of these is done: an input or a number is pushed, or an operator replaces its operands.
struct Step {
  int input = -1;
  double number = 0.0;
  Unary unary = nullptr;
  Binary binary = nullptr;
};

Step ParseStep(const std::string& name, double value, size_t inputs) {
  Step step;
  if (name == "input") {
    step.input = static_cast<int>(value);
    if (value < 0.0 || step.input >= static_cast<int>(inputs)) {
      throw std::invalid_argument("an expression has no input with this index");
    }
    return step;
  }
  step.number = value;
  for (const NamedUnary& each : kUnary) {
    if (name == each.name) step.unary = each.run;
  }
  for (const NamedBinary& each : kBinary) {
    if (name == each.name) step.binary = each.run;
  }
  if (step.unary == nullptr && step.binary == nullptr && name != "number") {
    throw std::invalid_argument("no step of an expression is named " + name);
  }
  return step;
}

class Expr : public NumberFeature {
 public:
  explicit Expr(const FeatureSpec& spec)
      : inputs_(spec.inputs), text_(spec.expression), values_(spec.inputs.size()) {
    int64_t depth = 0, deepest = 0;
    for (const auto& [name, value] : spec.steps) {
      const Step step = ParseStep(name, value, inputs_.size());
      const int64_t taken = step.binary != nullptr ? 2 : step.unary != nullptr ? 1 : 0;
      if (depth < taken) throw std::invalid_argument("an expression lacks operands");
      depth += 1 - taken;
      deepest = std::max(deepest, depth);
      steps_.push_back(step);
    }
    if (depth != 1) throw std::invalid_argument("an expression must leave one number");
    stack_.resize(static_cast<size_t>(deepest * kTile));
  }

  int dim() const override { return 1; }

  void Run(ArrowCells* cells, float* out, int64_t stride) override {
    for (size_t k = 0; k < inputs_.size(); ++k) Read(cells, inputs_[k], &values_[k]);
    for (int64_t begin = 0; begin < cells->rows(); begin += kTile) {
      const int64_t count = std::min(kTile, cells->rows() - begin);
      Evaluate(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        const float number = static_cast<float>(stack_[static_cast<size_t>(i)]);
        out[(begin + i) * stride] = number;
        if (!std::isfinite(number)) Report(cells, begin + i);
      }
    }
  }

 private:
  // The numbers of a FLOAT field are rounded to 32 bits, in files and in requests.
  static void Read(ArrowCells* cells, int field, std::vector<double>* values) {
    values->resize(static_cast<size_t>(cells->rows()));
    double* const to = values->data();
    if (cells->column(field).field().type == FieldType::kFloat) {
      cells->EachNumber(field, [to](int64_t row, double x) { to[row] = static_cast<float>(x); });
    } else {
      cells->EachNumber(field, [to](int64_t row, double x) { to[row] = x; });
    }
  }

  void Evaluate(int64_t begin, int64_t count) {
    double* top = stack_.data();  // the first free position
    for (const Step& step : steps_) {
      if (step.unary != nullptr) {
        step.unary(top - kTile, count);
      } else if (step.binary != nullptr) {
        top -= kTile;
        step.binary(top - kTile, top, count);
      } else {
        if (step.input >= 0) {
          const double* from = values_[static_cast<size_t>(step.input)].data() + begin;
          for (int64_t i = 0; i < count; ++i) top[i] = Defined(from[i]);
        } else {
          std::fill(top, top + count, step.number);
        }
        top += kTile;
      }
    }
  }

  void Report(ArrowCells* cells, int64_t row) const {
    std::string with;
    for (size_t k = 0; k < inputs_.size(); ++k) {
      char shown[32];
      std::snprintf(shown, sizeof(shown), "%.9g", values_[k][static_cast<size_t>(row)]);
      with += (k == 0 ? " with " : ", ") + cells->column(inputs_[k]).field().name + " = " + shown;
    }
    cells->Bad(row, cells->column(inputs_[0]).field(),
               "the expression " + Quoted(text_) + with + " is not a finite number");
  }

  const std::vector<int> inputs_;
  const std::string text_;
  std::vector<Step> steps_;
  std::vector<double> stack_;                // kTile numbers in each position
  std::vector<std::vector<double>> values_;  // of the inputs, by row
};

}  // namespace

std::unique_ptr<NumberFeature> MakeExprFeature(const FeatureSpec& spec) {
  return std::make_unique<Expr>(spec);
}

}  // namespace hvdrec
