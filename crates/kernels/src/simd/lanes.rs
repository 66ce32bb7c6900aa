//! Duos of instruction sets that multiply one float32 a lane: a duo is two registers.

/// The part of `Simd` that is the same for all of them.
macro_rules! lane_duos {
    () => {
        type Duo = [Self::F; 2];
        type X = [f32; 2];
        type Stored = [[f32; LANES]; 2];

        #[inline(always)]
        fn x(first: f32, second: f32) -> Self::X {
            [first, second]
        }

        #[inline(always)]
        fn dot(self, sum: Self::F, weights: Self::Duo, x: Self::X) -> Self::F {
            self.fma(self.splat(x[1]), weights[1], self.fma(self.splat(x[0]), weights[0], sum))
        }

        #[inline(always)]
        fn duos_of_nibbles<N: Nibbles>(self, bits: Self::I) -> [[Self::Duo; 2]; 2] {
            [
                [
                    [N::lanes::<_, 16>(self, bits), N::lanes::<_, 0>(self, bits)],
                    [N::lanes::<_, 20>(self, bits), N::lanes::<_, 4>(self, bits)],
                ],
                [
                    [N::lanes::<_, 24>(self, bits), N::lanes::<_, 8>(self, bits)],
                    [N::lanes::<_, 28>(self, bits), N::lanes::<_, 12>(self, bits)],
                ],
            ]
        }

        #[inline(always)]
        fn duo_of_bytes(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Duo {
            [self.load_i8(first), self.load_i8(second)]
        }

        #[inline(always)]
        fn duos_of_pairs(self, first: Self::I, second: Self::I) -> [Self::Duo; 2] {
            [
                [self.low_bf16(first), self.low_bf16(second)],
                [self.high_bf16(first), self.high_bf16(second)],
            ]
        }

        #[inline(always)]
        fn load_duo(self, from: &Self::Stored) -> Self::Duo {
            [self.load(&from[0]), self.load(&from[1])]
        }

        #[inline(always)]
        fn store_duo(self, duo: Self::Duo, to: &mut Self::Stored) {
            self.store(duo[0], &mut to[0]);
            self.store(duo[1], &mut to[1]);
        }
    };
}

pub(super) use lane_duos;
