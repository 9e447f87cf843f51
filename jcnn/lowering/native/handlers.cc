// What XLA calls: arrays in, arrays out, and room that XLA lends.
#include "depthwise.h"
#include "patches.h"
#include "winograd.h"

namespace jcnn {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;
using Integers = ffi::Span<const int64_t>;

struct Places {
  Integers window, strides, dilation, before;

  Correlation Between(Integers in, Integers out) const {
    const auto images = [](Integers d) { return Images{d[0], d[1], d[2], d[3]}; };
    const auto pair = [](Integers values) { return Pair{values[0], values[1]}; };
    return {images(in), images(out), pair(window), pair(strides), pair(dilation), pair(before)};
  }
};

// Room is (workers, elements of each).
Team TeamOf(ffi::ThreadPool& pool, Result& room) {
  return {pool, static_cast<int>(room->dimensions()[0])};
}

Room RoomOf(Result& room, int64_t tiles, int64_t parts) {
  return {room->typed_data(), room->dimensions()[1], tiles, parts};
}

template <class Kind>
ffi::Error Correlate(ffi::ThreadPool pool, Array x, Array w, Result y, Result kernels, Result room,
                     Integers window, Integers strides, Integers dilation, Integers before,
                     int64_t tiles, int64_t parts) {
  const Places places = {window, strides, dilation, before};
  Kind::Correlate(TeamOf(pool, room), places.Between(x.dimensions(), y->dimensions()),
                  RoomOf(room, tiles, parts), x.typed_data(), w.typed_data(), kernels->typed_data(),
                  y->typed_data());
  return ffi::Error::Success();
}

template <class Kind>
ffi::Error KernelGradient(ffi::ThreadPool pool, Array x, Array dy, Result dw, Result sums,
                          Result room, Integers window, Integers strides, Integers dilation,
                          Integers before, int64_t tiles, int64_t parts) {
  const Places places = {window, strides, dilation, before};
  Kind::KernelGradient(TeamOf(pool, room), places.Between(x.dimensions(), dy.dimensions()),
                       RoomOf(room, tiles, parts), x.typed_data(), dy.typed_data(), sums->typed_data(),
                       dw->typed_data());
  return ffi::Error::Success();
}

auto Bound() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<Array>()
      .Arg<Array>()
      .Ret<Array>()
      .Ret<Array>()
      .Ret<Array>()
      .Attr<Integers>("window")
      .Attr<Integers>("strides")
      .Attr<Integers>("dilation")
      .Attr<Integers>("before")
      .Attr<int64_t>("tiles")
      .Attr<int64_t>("parts");
}

}  // namespace

#define JCNN_HANDLERS(name, Kind)                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name##_correlate, Correlate<Kind>, Bound());       \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name##_kernel_gradient, KernelGradient<Kind>, Bound())

JCNN_HANDLERS(winograd_3, Filter<3>);
JCNN_HANDLERS(winograd_5, Filter<5>);
JCNN_HANDLERS(patches, Patches);
JCNN_HANDLERS(depthwise, Depthwise);

}  // namespace jcnn

extern "C" int lanes() { return jcnn::kLanes; }
extern "C" int rows() { return jcnn::kRows; }
