//! Duos of instruction sets that multiply one float32 a lane: a duo is two registers.

/// The part of `Simd` that is the same for all of them.
macro_rules! lane_duos {
    () => {
        type Duo = [Self::F; 2];
        type X = [f32; 2];
        type Stored = [[f32; LANES]; 2];

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
        fn duo_of_line(self, line: Self::I) -> Self::Duo {
            [self.high_bf16(line), self.low_bf16(line)]
        }

        #[inline(always)]
        fn pack_block(self, values: [Self::F; 2]) -> XBlock<Self::X> {
            let mut lanes = [[0.0; LANES]; 2];
            self.store(values[0], &mut lanes[0]);
            self.store(values[1], &mut lanes[1]);
            let flat = lanes.as_flattened();
            let mut block = [[[0.0; 2]; DUOS]; 2];
            for chain in 0..2 {
                for duo in 0..DUOS {
                    block[chain][duo] = [flat[4 * duo + chain], flat[4 * duo + chain + 2]];
                }
            }
            block
        }

        #[inline(always)]
        fn turn_blocks(self, blocks: &[XBlock<Self::X>], to: &mut [[Self::Stored; DUOS]; 2]) {
            *to = Default::default();
            for (lane, block) in blocks.iter().enumerate() {
                for (to, from) in to.as_flattened_mut().iter_mut().zip(block.as_flattened()) {
                    (to[0][lane], to[1][lane]) = (from[0], from[1]);
                }
            }
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
