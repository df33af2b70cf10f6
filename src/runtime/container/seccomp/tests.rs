//! Filters, run by an interpreter of their code.

use super::assemble::{Instruction, program};
use super::profile::{Action, Profile};
use super::{custom_program, default};
use crate::runtime::container::capability;

const X86_64: u32 = 0xc000_003e;

/// Runs a program as the kernel would.
fn run(code: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut packet = Vec::new();
    packet.extend(number.to_le_bytes());
    packet.extend(architecture.to_le_bytes());
    packet.extend([0; 8]);
    packet.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut register) = (0, 0_u32);
    loop {
        let Instruction {
            code,
            jump_true,
            jump_false,
            value,
        } = code[at];
        let mut branch =
            |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code {
            0x20 => {
                let at = value as usize;
                register = u32::from_le_bytes([
                    packet[at],
                    packet[at + 1],
                    packet[at + 2],
                    packet[at + 3],
                ]);
            }
            0x54 => register &= value,
            0x06 => return value,
            0x05 => at += value as usize,
            0x15 => branch(register == value),
            0x25 => branch(register > value),
            0x35 => branch(register >= value),
            _ => return u32::MAX,
        }
        at += 1;
    }
}

fn native(code: &[Instruction], number: i64, argument: u64) -> Action {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Action(run(code, X86_64, number, [argument, 0, 0, 0, 0, 0]))
}

const EPERM: Action = Action::errno(1);

#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_allows_and_refuses_as_docker_does() {
    let code = program(&default::profile(capability::DEFAULT));
    for number in [
        libc::SYS_read,
        libc::SYS_openat,
        libc::SYS_futex,
        libc::SYS_chroot,
        libc::SYS_ptrace,
    ] {
        assert_eq!(native(&code, number, 0), Action::ALLOW, "{number}");
    }
    for number in [
        libc::SYS_mount,
        libc::SYS_keyctl,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        9999,
    ] {
        assert_eq!(native(&code, number, 0), EPERM, "{number}");
    }
    assert_eq!(native(&code, libc::SYS_clone3, 0), Action::errno(38));
    assert_eq!(native(&code, libc::SYS_clone, 0x11), Action::ALLOW);
    assert_eq!(native(&code, libc::SYS_clone, 0x1000_0011), EPERM);
    assert_eq!(
        native(&code, libc::SYS_personality, 0xffff_ffff),
        Action::ALLOW
    );
    assert_eq!(native(&code, libc::SYS_personality, 1), EPERM);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn sockets_are_allowed_but_for_two_families() {
    let code = program(&default::profile(capability::DEFAULT));
    for family in [0, 1, 2, 10, 16, 17, 37, 39, 41, 1 << 33] {
        assert_eq!(
            native(&code, libc::SYS_socket, family),
            Action::ALLOW,
            "{family}"
        );
    }
    for family in [38, 40] {
        assert_eq!(native(&code, libc::SYS_socket, family), EPERM, "{family}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_capability_opens_its_calls() {
    let code = program(&default::profile(capability::ALL));
    for number in [libc::SYS_mount, libc::SYS_clone3, libc::SYS_reboot] {
        assert_eq!(native(&code, number, 0), Action::ALLOW, "{number}");
    }
}

#[test]
fn every_name_of_the_default_is_known() {
    let profile = default::profile(capability::ALL);
    let known: Vec<&str> = include_str!("numbers.tsv")
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    let missing: Vec<_> = profile
        .rules
        .iter()
        .flat_map(|rule| &rule.names)
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    // Calls of architectures that are not in the table.
    assert_eq!(missing, ["recv", "riscv_hwprobe", "send"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_other_conventions_have_filters_of_their_own() {
    let code = program(&default::profile(capability::DEFAULT));
    let i386 = |number| Action(run(&code, 0x4000_0003, number, [0; 6]));
    assert_eq!((i386(3), i386(21)), (Action::ALLOW, EPERM));
    assert_eq!(Action(run(&code, 0x1234, 0, [0; 6])), EPERM);
    assert_eq!(native(&code, 0x4000_0000, 0), EPERM, "x32");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_profile_of_the_user_is_read() -> Result<(), Box<dyn std::error::Error>> {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"name": "kill", "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_GE"}]},
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
    let code = program(&Profile::parse(json, capability::DEFAULT)?);
    assert_eq!(native(&code, libc::SYS_mkdir, 0), Action::errno(13));
    assert_eq!(native(&code, libc::SYS_chmod, 0), Action::ALLOW);
    assert_eq!(native(&code, libc::SYS_kill, 4), Action::ALLOW);
    assert_eq!(native(&code, libc::SYS_kill, 5), Action(0x8000_0000));
    assert!(custom_program("{}", 0).is_err());
    Ok(())
}
