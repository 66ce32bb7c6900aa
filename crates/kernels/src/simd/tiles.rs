//! AMX tiles by name: configuration, loads, products of bf16 pairs and stores, as inline assembly.
//!
//! TDPBF16PS of tiles A (rows × 16 pairs) and B (16 pairs × 16 outputs) adds to C, for each output, the chain over the low halves plus
//! the chain over the high halves, each of fused multiply-adds from +0, rounded to nearest even, denormals zero, whatever the
//! thread's mode (Intel's manual, volume 2). Eight tiles here: A in 0 and 1, B in 2 and 3, C in 4 to 7.

use crate::system::request_state;
use std::arch::asm;
use std::sync::OnceLock;

/// Proof that the processor has AMX tiles with bf16, and that the system lets this process use them.
#[derive(Clone, Copy)]
pub struct Tiles(());

/// Bytes of a tile's row.
pub const ROW_BYTES: usize = 64;
/// Rows of the largest tile.
pub const ROWS: usize = 16;

/// A tile in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Tile<T>(pub [[T; 16]; ROWS]);

/// The shapes of all tiles (Intel's palette 1).
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The linear number of tile data among the processor's extended states.
const TILE_DATA: usize = 18;

impl Tiles {
    /// `None` where the processor has no such tiles or the system does not lend them. Asked once for the process.
    pub fn get() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(|| has_tiles() && request_state(TILE_DATA)).then_some(Self(()))
    }

    /// Gives the A tiles `rows` rows each (0 to 16) and `pairs` pairs a row, the B tiles `pairs` rows, and the C tiles
    /// rows as their A tile has. All tiles become zero.
    pub fn configure(self, rows: [usize; 2], pairs: usize) {
        debug_assert!(rows.iter().all(|&rows| rows <= ROWS) && pairs <= ROWS);
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut set = |tile: usize, rows: usize, row_bytes: usize| {
            if rows > 0 {
                config.rows[tile] = rows as u8;
                config.row_bytes[tile] = row_bytes as u16;
            }
        };
        for (index, &rows) in rows.iter().enumerate() {
            set(index, rows, 4 * pairs);
            set(2 + index, pairs, ROW_BYTES);
            set(4 + 2 * index, rows, ROW_BYTES);
            set(5 + 2 * index, rows, ROW_BYTES);
        }
        // SAFETY: the processor has tiles (the token), the system lends them, and the configuration is 64 valid bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly)) }
    }

    /// Gives the tiles back, so that the system need not keep them over a switch of threads.
    pub fn release(self) {
        // SAFETY: the processor has tiles (the token); nobody needs their contents any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }

    /// Loads A tile `INDEX` (0 or 1): its rows start at `from` and are `stride` bytes apart.
    ///
    /// # Safety
    /// All rows of the tile as configured lie within live memory.
    #[inline(always)]
    pub unsafe fn load_a<const INDEX: usize>(self, from: *const u32, stride: usize) {
        // SAFETY: this function's contract.
        unsafe {
            match INDEX {
                0 => asm!("tileloadd tmm0, [{} + {}*1]", in(reg) from, in(reg) stride, options(nostack, readonly)),
                _ => asm!("tileloadd tmm1, [{} + {}*1]", in(reg) from, in(reg) stride, options(nostack, readonly)),
            }
        }
    }

    /// Loads both B tiles.
    #[inline(always)]
    pub fn load_b(self, from: [&Tile<u32>; 2]) {
        // SAFETY: a `Tile` has memory for the largest shape.
        unsafe {
            asm!(
                "tileloadd tmm2, [{} + {stride}*1]",
                "tileloadd tmm3, [{} + {stride}*1]",
                in(reg) from[0], in(reg) from[1], stride = in(reg) ROW_BYTES,
                options(nostack, readonly)
            );
        }
    }

    /// Makes the C tiles of A tile 0 zero.
    #[inline(always)]
    pub fn clear(self) {
        // SAFETY: the processor has tiles (the token), which are configured; memory is not touched.
        unsafe { asm!("tilezero tmm4", "tilezero tmm5", options(nostack, nomem)) }
    }

    /// C += A tile 0 times both B tiles.
    #[inline(always)]
    pub fn accumulate_first(self) {
        // SAFETY: as above.
        unsafe { asm!("tdpbf16ps tmm4, tmm0, tmm2", "tdpbf16ps tmm5, tmm0, tmm3", options(nostack, nomem)) }
    }

    /// Stores the C tiles of A tile 0; rows are `stride` bytes apart.
    ///
    /// # Safety
    /// All rows of the tiles as configured lie within live memory that nothing else refers to.
    #[inline(always)]
    pub unsafe fn store_first(self, first: *mut f32, second: *mut f32, stride: usize) {
        // SAFETY: this function's contract.
        unsafe {
            asm!(
                "tilestored [{} + {stride}*1], tmm4",
                "tilestored [{} + {stride}*1], tmm5",
                in(reg) first, in(reg) second, stride = in(reg) stride,
                options(nostack)
            );
        }
    }

    /// C += both A tiles times both B tiles.
    #[inline(always)]
    pub fn accumulate(self) {
        // SAFETY: the processor has tiles (the token), which are configured; memory is not touched.
        unsafe {
            asm!(
                "tdpbf16ps tmm4, tmm0, tmm2",
                "tdpbf16ps tmm5, tmm0, tmm3",
                "tdpbf16ps tmm6, tmm1, tmm2",
                "tdpbf16ps tmm7, tmm1, tmm3",
                options(nostack, nomem)
            );
        }
    }

    /// C = A tile `INDEX` times both B tiles, stored to `to`.
    #[inline(always)]
    pub fn multiply<const INDEX: usize>(self, to: &mut [Tile<f32>; 2]) {
        let [first, second] = to;
        // SAFETY: a `Tile` has memory for the largest shape.
        unsafe {
            match INDEX {
                0 => asm!(
                    "tilezero tmm4",
                    "tilezero tmm5",
                    "tdpbf16ps tmm4, tmm0, tmm2",
                    "tdpbf16ps tmm5, tmm0, tmm3",
                    "tilestored [{} + {stride}*1], tmm4",
                    "tilestored [{} + {stride}*1], tmm5",
                    in(reg) first, in(reg) second, stride = in(reg) ROW_BYTES,
                    options(nostack)
                ),
                _ => asm!(
                    "tilezero tmm6",
                    "tilezero tmm7",
                    "tdpbf16ps tmm6, tmm1, tmm2",
                    "tdpbf16ps tmm7, tmm1, tmm3",
                    "tilestored [{} + {stride}*1], tmm6",
                    "tilestored [{} + {stride}*1], tmm7",
                    in(reg) first, in(reg) second, stride = in(reg) ROW_BYTES,
                    options(nostack)
                ),
            }
        }
    }
}

/// The processor's word: tiles, bf16 products, and the system keeps their state.
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const OSXSAVE: u32 = 1 << 27;
    let keeps_state = __cpuid(1).ecx & OSXSAVE != 0;
    let features = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 };
    if !keeps_state || features & (BF16 | TILE) != BF16 | TILE {
        return false;
    }
    let (low, _high): (u32, u32);
    // SAFETY: `xgetbv` is there, as OSXSAVE says; register 0 tells which states the system keeps.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _high, options(nostack, nomem)) };
    let states: u32 = (1 << 17) | (1 << TILE_DATA);
    low & states == states
}
