//! Which devices a container may use: files in version 1, a small BPF program in version 2.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::runtime::container::request::{DeviceRule, Verdict};
use crate::runtime::sys::bpf;

/// Denies all, then writes the rules in order.
pub(super) fn apply_v1(folder: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    fs::write(folder.join("devices.deny"), "a")?;
    for rule in rules {
        let file = match rule.verdict {
            Verdict::Allow => "devices.allow",
            Verdict::Deny => "devices.deny",
        };
        fs::write(folder.join(file), text(rule))?;
    }
    Ok(())
}

fn text(rule: &DeviceRule) -> String {
    let number =
        |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |value| value.to_string());
    format!(
        "{} {}:{} {}",
        rule.kind,
        number(rule.major),
        number(rule.minor),
        rule.access
    )
}

pub(super) fn apply_v2(folder: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(folder, flags, Mode::empty())?;
    let program = bpf::load_device_filter(&compile(rules))?;
    bpf::attach_device_filter(cgroup.as_fd(), program.as_fd())
}

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(destination | (source << 4)) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

/// Registers: r2 type, r3 wanted access, r4 major, r5 minor. The last rule that matches decides, so they are tested
/// from the last to the first; without a match the answer is no.
fn compile(rules: &[DeviceRule]) -> Vec<u64> {
    const LOAD_WORD: u8 = 0x61;
    const AND: u8 = 0x54;
    const SHIFT_RIGHT: u8 = 0x74;
    const MOVE: u8 = 0xbc;
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut block = conditions(rule, MOVE, AND);
        block.extend(answer(rule.verdict));
        // Each condition that fails jumps to the next rule.
        let length = block.len();
        for (index, code) in block.iter_mut().enumerate() {
            if code.to_le_bytes()[0] & 0x07 == 0x05 && code.to_le_bytes()[0] != 0x95 {
                let offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
                *code |= u64::from(offset.cast_unsigned()) << 16;
            }
        }
        program.extend(block);
    }
    program.extend(answer(Verdict::Deny));
    program
}

fn conditions(rule: &DeviceRule, mov: u8, and: u8) -> Vec<u64> {
    const JUMP_UNEQUAL: u8 = 0x55;
    const JUMP_UNEQUAL_REGISTER: u8 = 0x5d;
    let mut block = Vec::new();
    match rule.kind {
        'b' => block.push(instruction(JUMP_UNEQUAL, 2, 0, 0, BLOCK)),
        'c' => block.push(instruction(JUMP_UNEQUAL, 2, 0, 0, CHARACTER)),
        _ => {}
    }
    let mask = access_mask(&rule.access);
    if mask != 7 {
        // Allowed only when all that is wanted is in the rule; denied when any of it is.
        block.push(instruction(mov, 1, 3, 0, 0));
        block.push(instruction(and, 1, 0, 0, mask));
        match rule.verdict {
            Verdict::Allow => block.push(instruction(JUMP_UNEQUAL_REGISTER, 1, 3, 0, 0)),
            Verdict::Deny => block.push(instruction(0x15, 1, 0, 0, 0)),
        }
    }
    let numbers = [(4, rule.major), (5, rule.minor)];
    for (register, number) in numbers {
        if let Some(number) = number {
            block.push(instruction(
                JUMP_UNEQUAL,
                register,
                0,
                0,
                number.cast_signed(),
            ));
        }
    }
    block
}

fn access_mask(access: &str) -> i32 {
    let bit = |letter, bit| if access.contains(letter) { bit } else { 0 };
    bit('m', 1) | bit('r', 2) | bit('w', 4)
}

fn answer(verdict: Verdict) -> [u64; 2] {
    const MOVE_VALUE: u8 = 0xb4;
    const EXIT: u8 = 0x95;
    let value = match verdict {
        Verdict::Allow => 1,
        Verdict::Deny => 0,
    };
    [
        instruction(MOVE_VALUE, 0, 0, 0, value),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        verdict: Verdict,
        kind: char,
        major: Option<u32>,
        minor: Option<u32>,
        access: &str,
    ) -> DeviceRule {
        DeviceRule {
            verdict,
            kind,
            major,
            minor,
            access: access.to_owned(),
        }
    }

    #[test]
    fn a_rule_reads_as_the_kernel_wants_it() {
        assert_eq!(
            text(&rule(Verdict::Allow, 'c', Some(136), None, "rwm")),
            "c 136:* rwm"
        );
    }

    #[test]
    fn the_kernel_accepts_the_program() -> Result<(), Box<dyn std::error::Error>> {
        let rules = [
            rule(Verdict::Allow, 'c', None, None, "m"),
            rule(Verdict::Allow, 'c', Some(1), Some(3), "rwm"),
            rule(Verdict::Deny, 'b', Some(8), None, "w"),
        ];
        match bpf::load_device_filter(&compile(&rules)) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
