// kernels.h - the pattern and the checksum of pattern.h on a GPU, as PTX for
// the driver to compile.
//
//   vrampool_pattern(ptr, u64 words, u64 seed)      64-bit words
//   vrampool_checksum(ptr, u64 words, ptr u64 out)  adds that of 32-bit words
//
// Both stride over the whole grid.

#ifndef VRAMPOOL_DEPLOY_DEMO_KERNELS_H_
#define VRAMPOOL_DEPLOY_DEMO_KERNELS_H_

namespace vrampool::demo {

inline constexpr char kPatternKernel[] = "vrampool_pattern";
inline constexpr char kChecksumKernel[] = "vrampool_checksum";

inline constexpr char kKernels[] = R"(
.version 7.0
.target sm_70
.address_size 64

.visible .entry vrampool_pattern(.param .u64 data, .param .u64 words,
                                 .param .u64 seed)
{
  .reg .pred %p<2>;
  .reg .b32 %w<5>;
  .reg .b64 %r<10>;
  ld.param.u64 %r1, [data];
  cvta.to.global.u64 %r1, %r1;
  ld.param.u64 %r2, [words];
  ld.param.u64 %r8, [seed];
  mov.u64 %r9, 0x9e3779b97f4a7c15;
  mov.u32 %w1, %ctaid.x;
  mov.u32 %w2, %ntid.x;
  mov.u32 %w3, %tid.x;
  mov.u32 %w4, %nctaid.x;
  mul.wide.u32 %r3, %w1, %w2;
  cvt.u64.u32 %r4, %w3;
  add.u64 %r3, %r3, %r4;
  mul.wide.u32 %r5, %w4, %w2;
again:
  setp.ge.u64 %p1, %r3, %r2;
  @%p1 bra done;
  add.u64 %r6, %r8, %r3;
  mul.lo.u64 %r6, %r6, %r9;
  shl.b64 %r7, %r3, 3;
  add.u64 %r7, %r1, %r7;
  st.global.u64 [%r7], %r6;
  add.u64 %r3, %r3, %r5;
  bra again;
done:
  ret;
}

.visible .entry vrampool_checksum(.param .u64 data, .param .u64 words,
                                  .param .u64 out)
{
  .reg .pred %p<2>;
  .reg .b32 %w<7>;
  .reg .b64 %r<13>;
  ld.param.u64 %r1, [data];
  cvta.to.global.u64 %r1, %r1;
  ld.param.u64 %r2, [words];
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
  cvt.u64.u32 %r10, %w6;
  add.u64 %r11, %r3, 1;
  mad.lo.u64 %r9, %r10, %r11, %r9;
  add.u64 %r3, %r3, %r5;
  bra again;
done:
  atom.global.add.u64 %r12, [%r8], %r9;
  ret;
}
)";

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_KERNELS_H_
