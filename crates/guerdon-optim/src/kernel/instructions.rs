//! The vector instructions that the kernels run on: the widest set of the processor, detected at
//! run time.
//!
//! Kernels are written once, without intrinsics; the compiler generates a version of each for every
//! set below. No version fuses a multiplication with an addition, so all of them give the same
//! bits.

use crate::names::named;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstructionSet {
    /// The instructions of every processor of the target: SSE2 on x86-64, NEON on AArch64.
    Baseline,
    /// x86-64-v3: 8 `f32` at once.
    Avx2,
    /// x86-64-v4: 16 `f32` at once.
    Avx512,
}

named!(InstructionSet, "instruction set", {
    Baseline => "baseline",
    Avx2 => "avx2",
    Avx512 => "avx512",
});

impl InstructionSet {
    /// The widest set of this processor.
    pub fn widest() -> Self {
        Self::of(pulp::Arch::new())
    }

    /// Returns true if this processor has the set.
    pub fn is_available(self) -> bool {
        Self::of(self.arch()) == self
    }

    fn of(arch: pulp::Arch) -> Self {
        match arch {
            #[cfg(target_arch = "x86_64")]
            pulp::Arch::V4(_) => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            pulp::Arch::V3(_) => Self::Avx2,
            _ => Self::Baseline,
        }
    }

    /// The widest set of this processor, but none wider than `self`.
    pub(crate) fn arch(self) -> pulp::Arch {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 => {}
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return pulp::Arch::V3(simd);
                }
            }
            Self::Baseline => return pulp::Arch::Scalar,
        }
        pulp::Arch::new()
    }
}
