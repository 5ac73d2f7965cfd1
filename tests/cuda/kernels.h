// kernels.h - the module of test kernels, as PTX for the driver to compile.
//
//   vrampool_spin(u64 nanoseconds)             runs for that long
//   vrampool_fill(ptr, u64 words, u32 value)   32-bit words
//   vrampool_mismatches(ptr, u64 words, u32 value, ptr u64 out)
//                                              adds the number of other words
//   vrampool_fill_until(ptr, u64 words, u32 value, ptr u32 stop)
//                                              again and again until *stop != 0
//
// All but the first and last stride over the whole grid; those want one block.

#ifndef VRAMPOOL_TESTS_CUDA_KERNELS_H_
#define VRAMPOOL_TESTS_CUDA_KERNELS_H_

namespace vrampool::cuda {

inline constexpr char kTestKernels[] = R"(
.version 7.0
.target sm_70
.address_size 64

.visible .entry vrampool_spin(.param .u64 nanoseconds)
{
  .reg .pred %p<2>;
  .reg .b64 %r<5>;
  ld.param.u64 %r1, [nanoseconds];
  mov.u64 %r2, %globaltimer;
  add.u64 %r3, %r2, %r1;
again:
  mov.u64 %r4, %globaltimer;
  setp.lt.u64 %p1, %r4, %r3;
  @%p1 bra again;
  ret;
}

.visible .entry vrampool_fill(.param .u64 data, .param .u64 words,
                              .param .u32 value)
{
  .reg .pred %p<2>;
  .reg .b32 %w<6>;
  .reg .b64 %r<8>;
  ld.param.u64 %r1, [data];
  cvta.to.global.u64 %r1, %r1;
  ld.param.u64 %r2, [words];
  ld.param.u32 %w1, [value];
  mov.u32 %w2, %ctaid.x;
  mov.u32 %w3, %ntid.x;
  mov.u32 %w4, %tid.x;
  mov.u32 %w5, %nctaid.x;
  mul.wide.u32 %r3, %w2, %w3;
  cvt.u64.u32 %r4, %w4;
  add.u64 %r3, %r3, %r4;
  mul.wide.u32 %r5, %w5, %w3;
again:
  setp.ge.u64 %p1, %r3, %r2;
  @%p1 bra done;
  shl.b64 %r6, %r3, 2;
  add.u64 %r7, %r1, %r6;
  st.global.u32 [%r7], %w1;
  add.u64 %r3, %r3, %r5;
  bra again;
done:
  ret;
}

.visible .entry vrampool_mismatches(.param .u64 data, .param .u64 words,
                                    .param .u32 value, .param .u64 out)
{
  .reg .pred %p<3>;
  .reg .b32 %w<7>;
  .reg .b64 %r<11>;
  ld.param.u64 %r1, [data];
  cvta.to.global.u64 %r1, %r1;
  ld.param.u64 %r2, [words];
  ld.param.u32 %w1, [value];
  ld.param.u64 %r8, [out];
  cvta.to.global.u64 %r8, %r8;
  mov.u32 %w2, %ctaid.x;
  mov.u32 %w3, %ntid.x;
  mov.u32 %w4, %tid.x;
  mov.u32 %w5, %nctaid.x;
  mul.wide.u32 %r3, %w2, %w3;
  cvt.u64.u32 %r4, %w4;
  add.u64 %r3, %r3, %r4;
  mul.wide.u32 %r5, %w5, %w3;
  mov.u64 %r9, 0;
again:
  setp.ge.u64 %p1, %r3, %r2;
  @%p1 bra done;
  shl.b64 %r6, %r3, 2;
  add.u64 %r7, %r1, %r6;
  ld.volatile.global.u32 %w6, [%r7];
  setp.ne.u32 %p2, %w6, %w1;
  @%p2 add.u64 %r9, %r9, 1;
  add.u64 %r3, %r3, %r5;
  bra again;
done:
  atom.global.add.u64 %r10, [%r8], %r9;
  ret;
}

.visible .entry vrampool_fill_until(.param .u64 data, .param .u64 words,
                                    .param .u32 value, .param .u64 stop)
{
  .reg .pred %p<3>;
  .reg .b32 %w<5>;
  .reg .b64 %r<8>;
  ld.param.u64 %r1, [data];
  cvta.to.global.u64 %r1, %r1;
  ld.param.u64 %r2, [words];
  ld.param.u32 %w1, [value];
  ld.param.u64 %r3, [stop];
  mov.u32 %w2, %tid.x;
  mov.u32 %w3, %ntid.x;
  cvt.u64.u32 %r5, %w3;
again:
  cvt.u64.u32 %r4, %w2;
words_left:
  setp.ge.u64 %p1, %r4, %r2;
  @%p1 bra look;
  shl.b64 %r6, %r4, 2;
  add.u64 %r7, %r1, %r6;
  st.volatile.global.u32 [%r7], %w1;
  add.u64 %r4, %r4, %r5;
  bra words_left;
look:
  ld.volatile.u32 %w4, [%r3];
  setp.eq.u32 %p2, %w4, 0;
  @%p2 bra again;
  ret;
}
)";

}  // namespace vrampool::cuda

#endif  // VRAMPOOL_TESTS_CUDA_KERNELS_H_
