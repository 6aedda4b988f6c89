//! Large blocks of [`HugePageAllocator`] are advised to be in huge pages, as the kernel's own list of mappings says.

use std::io::Write as _;
use std::path::Path;

use dpdk::HugePageAllocator;

#[global_allocator]
static ALLOCATOR: HugePageAllocator = HugePageAllocator;

const MIB: usize = 1 << 20;

/// The flag of proc_pid_smaps(5) for a mapping under the advice.
const ADVISED: &str = "hg";

/// Whether the mapping in which `block` lies is under the advice.
fn is_advised<T>(block: &[T]) -> bool {
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("this process's mappings");
    let address = block.as_ptr().addr() + size_of_val(block) / 2;
    let mut is_around = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|word| word.split_once('-'));
        if let Some((Ok(start), Ok(end))) = range.map(|(start, end)| {
            let number = |hex| usize::from_str_radix(hex, 16);
            (number(start), number(end))
        }) {
            is_around = (start..end).contains(&address);
        } else if is_around && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split(' ').any(|flag| flag == ADVISED);
        }
    }
    panic!("no mapping has address {address:#x}");
}

#[test]
fn a_large_block_is_advised_and_a_small_one_is_not() {
    if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "skipped: this kernel has no transparent huge pages").expect("stderr");
        return;
    }
    let small = vec![1_u8; 4 * MIB];
    assert!(!is_advised(&small));
    let zeroed = vec![0_u64; 4 * MIB];
    assert!(is_advised(&zeroed));
    let mut grown = vec![7_u64; MIB];
    assert!(!is_advised(&grown));
    grown.resize(4 * MIB, 7);
    assert!(is_advised(&grown));
    assert!(grown.iter().all(|&word| word == 7));
}
