// What XLA calls: arrays in, arrays out, and room that XLA lends.
#include "winograd.h"

namespace jcnn {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Array>;
using Integers = ffi::Span<const int64_t>;

template <class In, class Out>
Windows Between(const In& in, const Out& out, const Integers& before) {
  const auto images = [](const auto& d) { return Images{d[0], d[1], d[2], d[3]}; };
  return {images(in.dimensions()), images(out.dimensions()), before[0], before[1]};
}

// (workers, elements of each).
Room RoomIn(Result room, int64_t tiles) {
  return {room->typed_data(), room->dimensions()[1], tiles};
}

template <int R>
ffi::Error Correlate(ffi::ThreadPool pool, Array x, Array w, Result y, Result kernels, Result room,
                     Integers before, int64_t tiles) {
  const Team team = {pool, static_cast<int>(room->dimensions()[0])};
  Filter<R>::Correlate(team, Between(x, *y, before), RoomIn(room, tiles), x.typed_data(),
                       w.typed_data(), kernels->typed_data(), y->typed_data());
  return ffi::Error::Success();
}

template <int R>
ffi::Error KernelGradient(ffi::ThreadPool pool, Array x, Array dy, Result dw, Result sums,
                          Result room, Integers before, int64_t tiles) {
  const Team team = {pool, static_cast<int>(room->dimensions()[0])};
  Filter<R>::KernelGradient(team, Between(x, dy, before), RoomIn(room, tiles), x.typed_data(),
                            dy.typed_data(), sums->typed_data(), dw->typed_data());
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
      .Attr<Integers>("before")
      .Attr<int64_t>("tiles");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(correlate_3, Correlate<3>, Bound());
XLA_FFI_DEFINE_HANDLER_SYMBOL(correlate_5, Correlate<5>, Bound());
XLA_FFI_DEFINE_HANDLER_SYMBOL(kernel_gradient_3, KernelGradient<3>, Bound());
XLA_FFI_DEFINE_HANDLER_SYMBOL(kernel_gradient_5, KernelGradient<5>, Bound());

}  // namespace jcnn

extern "C" int lanes() { return jcnn::kLanes; }
extern "C" int rows() { return jcnn::kRows; }
