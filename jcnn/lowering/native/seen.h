// Blocks of lines of outputs, and what their windows see: the images where they lie, or a copy of some
// rows that has its edges of zeros.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "images.h"
#include "product.h"

namespace jcnn {

// Lines of outputs, counted through all images, and the columns of them.
struct Lines {
  int64_t first, last, left, right;

  int64_t lines() const { return last - first; }
  int64_t columns() const { return right - left; }
};

// Blocks of about so many positions: whole lines, or parts of one.
class Blocks {
 public:
  Blocks(const Correlation& s, int64_t positions)
      : lines_(s.out.count * s.out.height),
        width_(s.out.width),
        lines_each_(std::max<int64_t>(1, positions / width_)),
        columns_each_(std::min(positions, width_)),
        beside_((width_ + columns_each_ - 1) / columns_each_) {}

  int64_t count() const { return (lines_ + lines_each_ - 1) / lines_each_ * beside_; }

  Lines operator[](int64_t number) const {
    const int64_t first = number / beside_ * lines_each_, left = number % beside_ * columns_each_;
    return {first, std::min(first + lines_each_, lines_), left,
            std::min(left + columns_each_, width_)};
  }

 private:
  int64_t lines_, width_, lines_each_, columns_each_, beside_;
};

// For each image that a block has part of, part(image, first, last) with its lines, up to last - 1.
template <typename Part>
void EachImage(const Correlation& s, const Lines& block, const Part& part) {
  for (int64_t line = block.first; line < block.last;) {
    const int64_t image = line / s.out.height;
    const int64_t last = std::min(block.last, (image + 1) * s.out.height);
    part(image, line, last);
    line = last;
  }
}

// What the windows of a block see: rows of images that are `pitch` apart, those of the next group
// `group` on, and where the first window of each line begins. It is `far` where it lies in the
// images, which no cache may hold.
struct Seen {
  const float* at;
  int64_t pitch, group;
  std::vector<int64_t> begins;
  bool far = false;
};

inline bool IsInside(int64_t before, int64_t out, int64_t stride, int64_t reach, int64_t in) {
  return before <= 0 && (out - 1) * stride - before + reach <= in;
}

// Whether no window leaves the images.
inline bool IsInside(const Correlation& s) {
  return IsInside(s.before.down, s.out.height, s.strides.down, s.reach().down, s.in.height) &&
         IsInside(s.before.right, s.out.width, s.strides.right, s.reach().right, s.in.width);
}

// `count` pixels of a row of an image from `left` on, zeros where they leave it, of a group's channels.
inline float* CopyRow(const Correlation& s, const float* row, int64_t left, int64_t count, float* to) {
  const int64_t channels = s.channels();
  const int64_t from = std::clamp<int64_t>(-left, 0, count);
  const int64_t end = std::clamp<int64_t>(s.in.width - left, from, count);
  to = std::fill_n(to, from * channels, 0.0f);
  row += (left + from) * s.in.channels;
  if (s.groups == 1)
    to = std::copy_n(row, (end - from) * channels, to);
  else
    for (int64_t pixel = from; pixel < end; ++pixel, row += s.in.channels, to += channels)
      for (int64_t c = 0; c < channels; c += kLanes)
        StoreFirst(to + c, LoadFirst(row + c, channels - c), channels - c);
  return std::fill_n(to, (count - end) * channels, 0.0f);
}

// The rows of an image that some of its lines see; returns where they end.
inline float* CopyRows(const Correlation& s, const float* image, int64_t top, int64_t count,
                       int64_t left, int64_t columns, float* to) {
  for (int64_t at = top; at < top + count; ++at) {
    if (at >= 0 && at < s.in.height)
      to = CopyRow(s, image + at * s.in.row(), left, columns, to);
    else
      to = std::fill_n(to, columns * s.channels(), 0.0f);
  }
  return to;
}

// Room: for the rows that the block's lines see, edges included, of each image that it has part of,
// a group after another.
inline Seen See(const Correlation& s, const Lines& block, const float* x, float* room) {
  const int64_t left = block.left * s.strides.right - s.before.right;
  std::vector<int64_t> begins;
  begins.reserve(block.lines());
  if (s.groups == 1 && IsInside(s)) {
    for (int64_t line = block.first; line < block.last; ++line)
      begins.push_back(line / s.out.height * s.in.whole() + s.top(line) * s.in.row() +
                       left * s.in.channels);
    return {x, s.in.row(), 0, std::move(begins), true};
  }
  const int64_t columns = (block.columns() - 1) * s.strides.right + s.reach().right;
  const int64_t pitch = columns * s.channels();
  float* to = room;
  for (int64_t g = 0; g < s.groups; ++g)
    EachImage(s, block, [&](int64_t image, int64_t first, int64_t last) {
      const int64_t top = s.top(first), count = s.top(last - 1) + s.reach().down - top;
      if (g == 0)
        for (int64_t line = first; line < last; ++line)
          begins.push_back(to - room + (s.top(line) - top) * pitch);
      to = CopyRows(s, x + image * s.in.whole() + g * s.channels(), top, count, left, columns, to);
    });
  return {room, pitch, (to - room) / s.groups, std::move(begins)};
}

// Runs of a window's elements that lie beside each other: rows of the window, or its elements.
struct Runs {
  std::vector<int64_t> begins;
  int64_t length;
};

inline Runs RunsOf(const Correlation& s, int64_t pitch) {
  const bool rows = s.dilation.right == 1;
  const int64_t channels = s.channels();
  Runs runs = {{}, rows ? s.window.right * channels : channels};
  for (int64_t i = 0; i < s.window.down; ++i)
    for (int64_t j = 0; j < (rows ? 1 : s.window.right); ++j)
      runs.begins.push_back(i * s.dilation.down * pitch + j * s.dilation.right * channels);
  return runs;
}

// Brings in what windows see, of which the last begins `beyond` the first: products read so many of
// them side by side that a processor doesn't foresee it.
inline void Fetch(const float* first, int64_t beyond, const Runs& runs) {
  constexpr int kLine = 16;
  for (const int64_t begin : runs.begins)
    for (int64_t i = 0; i < beyond + runs.length; i += kLine) __builtin_prefetch(first + begin + i);
}

}  // namespace jcnn
