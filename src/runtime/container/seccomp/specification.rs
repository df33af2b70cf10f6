//! A profile in the words of the OCI runtime specification, for runtimes that compile it themselves.

use serde_json::{Value, json};

use super::number;
use super::profile::{Action, Profile};

/// The JSON of a profile.
pub(super) fn of(profile: &Profile) -> String {
    let (default, errno) = words(profile.default);
    let rules = profile.rules.iter().map(|rule| {
        let (action, errno) = words(rule.action);
        let mut text = json!({ "names": rule.names, "action": action, "args": rule.conditions });
        put_errno(&mut text, "errnoRet", errno);
        text
    });
    let mut filter = json!({
        "defaultAction": default,
        "architectures": architectures(),
        "syscalls": rules.collect::<Vec<_>>(),
    });
    put_errno(&mut filter, "defaultErrnoRet", errno);
    filter.to_string()
}

fn put_errno(target: &mut Value, key: &str, errno: Option<u32>) {
    if let Some(errno) = errno {
        target[key] = json!(errno);
    }
}

fn architectures() -> &'static [&'static str] {
    if number::NAME == "amd64" {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    } else {
        &["SCMP_ARCH_AARCH64"]
    }
}

/// The action's name, and its number where it has one.
fn words(action: Action) -> (&'static str, Option<u32>) {
    let number = Some(action.0 & 0xffff);
    match action.0 & 0xffff_0000 {
        0x0005_0000 => ("SCMP_ACT_ERRNO", number),
        0x7ff0_0000 => ("SCMP_ACT_TRACE", number),
        0x7fff_0000 => ("SCMP_ACT_ALLOW", None),
        0x7ffc_0000 => ("SCMP_ACT_LOG", None),
        0x0003_0000 => ("SCMP_ACT_TRAP", None),
        0x8000_0000 => ("SCMP_ACT_KILL_PROCESS", None),
        _ => ("SCMP_ACT_KILL", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::container::seccomp::profile::ProfileError;

    #[test]
    fn actions_and_conditions_come_back_as_they_were_read() -> Result<(), ProfileError> {
        let docker = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[
            {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
            {"name":"reboot","action":"SCMP_ACT_KILL_PROCESS"},
            {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}"#;
        let text = of(&Profile::parse(docker, 0)?);
        let value: Value = serde_json::from_str(&text).map_err(ProfileError::Json)?;
        assert_eq!(value["defaultErrnoRet"], 38);
        assert_eq!(
            value["syscalls"],
            json!([
                { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 2_114_060_288_u32, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] },
                { "names": ["reboot"], "action": "SCMP_ACT_KILL_PROCESS", "args": [] },
            ])
        );
        Ok(())
    }
}
