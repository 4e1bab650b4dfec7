// Compares work in phases with the same work done by one thread.

#include "kernels/base/phases.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/base/parallel.h"
#include "kernels/base/shares.h"
#include "tests/tally.h"

namespace hvdrec {
namespace {

// Each phase reads all that the one before has written. Some pieces take longer than a thread
// spins, so that others sleep.
void TestPhases(int turn, const Parallel& parallel, Tally* tally) {
  const std::vector<int64_t> counts{7, 0, 1, 40, 3};
  std::vector<std::vector<int64_t>> found(counts.size()), expected(counts.size());
  Phases phases;
  int64_t sum = 1;
  for (size_t p = 0; p < counts.size(); ++p) {
    found[p].resize(static_cast<size_t>(counts[p]));
    phases.Add(counts[p], [&found, p, turn](int64_t i) {
      if (i == 0 && (turn + static_cast<int>(p)) % 8 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      int64_t before = 1;
      for (size_t q = 0; q < p; ++q) {
        for (const int64_t number : found[q]) before += number;
      }
      found[p][static_cast<size_t>(i)] = before % 1000 + i;
    });
    for (int64_t i = 0; i < counts[p]; ++i) expected[p].push_back(sum % 1000 + i);
    for (const int64_t number : expected[p]) sum += number;
  }
  phases.Run(parallel);
  tally->Count(found == expected, "phases", 0, 0);
}

// Pieces of several kinds in a phase, each once, and in a share's order without other threads.
void TestPiecesBeside(const Parallel& parallel, Tally* tally) {
  std::vector<int> counts(100);
  std::vector<int64_t> order;
  const Serial serial;
  for (const Parallel* threads : {&parallel, static_cast<const Parallel*>(&serial)}) {
    Phases phases;
    phases.Add(30, [&](int64_t i) { ++counts[static_cast<size_t>(i)]; });
    phases.Beside(20, [&](int64_t i) { ++counts[static_cast<size_t>(30 + i)]; });
    phases.ChunksBeside(95, 2, [&](int64_t, int64_t begin, int64_t end) {
      counts[static_cast<size_t>(50 + begin / 2)] += static_cast<int>(end - begin);
    });
    phases.Add(1, [&](int64_t) { ++counts[98]; });
    if (threads == &serial) {
      phases.AddChunksBackwards(5, 2,
                                [&](int64_t chunk, int64_t, int64_t) { order.push_back(chunk); });
    }
    phases.Run(*threads);
  }
  std::vector<int> expected(100, 2);
  std::fill(expected.begin() + 50, expected.begin() + 97, 4);
  expected[97] = 2;
  expected[98] = 2;
  expected[99] = 0;
  tally->Count(counts == expected && order == std::vector<int64_t>({2, 1, 0}), "pieces beside", 0,
               0);
}

// All shares are taken, each piece once, wherever a thread begins.
void TestShares(Tally* tally) {
  for (const int64_t count : {0, 1, 7, 64}) {
    for (const int shares : {1, 3, 16}) {
      for (int begin = 0; begin < shares; ++begin) {
        for (const bool backwards : {false, true}) {
          Shares pieces(count, shares, backwards);
          std::vector<int> taken(static_cast<size_t>(count));
          int share = begin;
          const int64_t first = pieces.Take(&share);
          const int64_t from = count * begin / shares, to = count * (begin + 1) / shares;
          bool right = from == to || first == (backwards ? to - 1 : from);
          for (int64_t i = first; i >= 0; i = pieces.Take(&share)) ++taken[static_cast<size_t>(i)];
          right &= std::count(taken.begin(), taken.end(), 1) == count;
          tally->Count(right && pieces.Take(&share) == -1, "shares", 0, 0);
        }
      }
    }
  }
}

void TestPhaseThatThrows(const Parallel& parallel, Tally* tally) {
  std::vector<int64_t> first(20), last(20);
  Phases phases;
  phases.Add(20, [&](int64_t i) { first[static_cast<size_t>(i)] = 1; });
  phases.Add(20, [&](int64_t i) {
    if (i == 11) throw std::runtime_error("piece");
  });
  phases.Add(20, [&](int64_t i) { last[static_cast<size_t>(i)] = 1; });
  bool thrown = false;
  try {
    phases.Run(parallel);
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  const auto ones = [](const std::vector<int64_t>& of) {
    return std::count(of.begin(), of.end(), 1);
  };
  tally->Count(thrown && ones(first) == 20 && ones(last) == 0, "a phase that throws", 0, 0);
}

}  // namespace
}  // namespace hvdrec

int main() {
  using namespace hvdrec;
  Tally tally;
  const OwnThreads threads(3);
  for (int turn = 0; turn < 200; ++turn) TestPhases(turn, threads, &tally);
  for (int turn = 0; turn < 20; ++turn) TestPhaseThatThrows(threads, &tally);
  for (int turn = 0; turn < 20; ++turn) TestPiecesBeside(threads, &tally);
  TestShares(&tally);
  return tally.End("phases");
}
