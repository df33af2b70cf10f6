//! Names of capabilities, and the mask that a container gets.

/// The names in the kernel's order, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's fourteen: `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
/// SYS_CHROOT KILL AUDIT_WRITE`.
pub const DEFAULT: u64 = 0xa804_25fb;

/// All that exist.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// All that this process may pass on; an engine that itself runs confined cannot give what it has not got.
#[must_use]
pub fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    bounding.map_or(ALL, |mask| mask & ALL)
}

/// The bit of a name, with or without `CAP_`, in any case.
#[must_use]
pub fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|number| 1 << number)
}

/// The names of a mask, as the kernel has them.
#[must_use]
pub fn names(mask: u64) -> Vec<String> {
    let held = NAMES
        .iter()
        .enumerate()
        .filter(|(number, _)| mask & (1 << number) != 0);
    held.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// The mask after `cap_add` and `cap_drop`.
///
/// # Errors
/// With the name that is not known.
pub fn mask(add: &[String], drop: &[String]) -> Result<u64, String> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let bits = |names: &[String]| -> Result<u64, String> {
        let single = names.iter().filter(|name| !is_all(name));
        single
            .map(|name| bit(name).ok_or_else(|| name.clone()))
            .try_fold(0, |mask, bit| Ok(mask | bit?))
    };
    let (added, dropped) = (bits(add)?, bits(drop)?);
    let base = match (add.iter().any(is_all), drop.iter().any(is_all)) {
        // Named ones are dropped from all.
        (true, _) => return Ok(available() & !dropped),
        (false, true) => 0,
        (false, false) => DEFAULT & !dropped,
    };
    Ok(base | added)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fourteen_by_default() {
        assert_eq!(mask(&[], &[]), Ok(DEFAULT));
        assert_eq!(DEFAULT.count_ones(), 14);
    }

    #[test]
    fn adding_and_dropping_combine_as_docker_does() {
        assert_eq!(mask(&names(&["net_admin"]), &names(&["ALL"])), Ok(1 << 12));
        assert_eq!(
            mask(&names(&["ALL"]), &names(&["CAP_SYS_ADMIN"])),
            Ok(available() & !(1 << 21))
        );
        assert_eq!(mask(&names(&["nonsense"]), &[]), Err("nonsense".into()));
    }
}
