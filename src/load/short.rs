//! Short forms with a syntax of their own: ports, volumes and devices (behaviours.md B089, B090, B095).

use super::message::Problem;

/// A port as written in short form, one entry for each port of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShortPort {
    /// Host address; may be empty.
    pub(super) host_ip: String,
    /// Port or range on the host; may be empty.
    pub(super) published: String,
    /// Port in the container.
    pub(super) target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(super) protocol: String,
}

/// A volume as written in short form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ShortVolume {
    /// Path, name or nothing.
    pub(super) source: String,
    /// Path in the container.
    pub(super) target: String,
    /// What the options say.
    pub(super) options: Vec<VolumeOption>,
    /// Whether the text was too short for anything but a target.
    pub(super) bare: bool,
}

/// An option of a volume in short form; unknown ones are ignored, as docker compose does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VolumeOption {
    /// `ro`
    ReadOnly,
    /// `rw`
    Writable,
    /// `nocopy`
    NoCopy,
    /// `z` or `Z`
    Selinux(&'static str),
    /// `rshared` and the like
    Propagation(&'static str),
}

const VOLUME_OPTIONS: [(&str, VolumeOption); 11] = [
    ("ro", VolumeOption::ReadOnly),
    ("rw", VolumeOption::Writable),
    ("nocopy", VolumeOption::NoCopy),
    ("z", VolumeOption::Selinux("z")),
    ("Z", VolumeOption::Selinux("Z")),
    ("rprivate", VolumeOption::Propagation("rprivate")),
    ("private", VolumeOption::Propagation("private")),
    ("rshared", VolumeOption::Propagation("rshared")),
    ("shared", VolumeOption::Propagation("shared")),
    ("rslave", VolumeOption::Propagation("rslave")),
    ("slave", VolumeOption::Propagation("slave")),
];

/// Reads `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`.
pub(super) fn ports(text: &str) -> Result<Vec<ShortPort>, Problem> {
    let parts: Vec<&str> = text.split(':').collect();
    let (address, published, target) = match parts.as_slice() {
        [target] => (String::new(), "", *target),
        [published, target] => (String::new(), *published, *target),
        [address @ .., published, target] => (address.join(":"), *published, *target),
        [] => (String::new(), "", ""),
    };
    let (target, protocol) = target.split_once('/').unwrap_or((target, ""));
    let protocol = protocol.split('/').next().unwrap_or_default();
    if target.is_empty() {
        return Err("no container port is given".into());
    }
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        other => {
            return Err(Problem::new(
                "`{}` is not a protocol: use `tcp`, `udp` or `sctp`",
                &[other],
            ));
        }
    };
    let host_ip = host_address(&address)?;
    let container = port_range(target)
        .ok_or_else(|| Problem::new("`{}` is not a container port", &[target]))?;
    let host = if published.is_empty() {
        None
    } else {
        Some(
            port_range(published)
                .ok_or_else(|| Problem::new("`{}` is not a host port", &[published]))?,
        )
    };
    expand(&host_ip, host, container, &protocol).ok_or_else(|| {
        Problem::new(
            "the ranges `{}` and `{}` differ in length",
            &[published, target],
        )
    })
}

fn host_address(address: &str) -> Result<String, Problem> {
    if address.is_empty() {
        return Ok(String::new());
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if is_address(bare) {
        Ok(bare.to_owned())
    } else {
        Err(Problem::new("`{}` is not an IP address", &[address]))
    }
}

/// Says whether a text is an IP address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let parse = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        None => parse(text).map(|port| (port, port)),
        Some((first, last)) => {
            let range = (parse(first)?, parse(last)?);
            (range.0 <= range.1).then_some(range)
        }
    }
}

fn expand(
    host_ip: &str,
    host: Option<(u16, u16)>,
    container: (u16, u16),
    protocol: &str,
) -> Option<Vec<ShortPort>> {
    let (first, last) = container;
    if let Some((from, to)) = host
        && to - from != last - first
        && first != last
    {
        return None;
    }
    let published = |offset: u16| match host {
        None => String::new(),
        Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
        Some((from, _)) => (from + offset).to_string(),
    };
    let mut ports: Vec<ShortPort> = (first..=last)
        .map(|target| ShortPort {
            host_ip: host_ip.to_owned(),
            published: published(target - first),
            target,
            protocol: protocol.to_owned(),
        })
        .collect();
    // docker compose sorts the ports of a range as text.
    ports.sort_by_key(|port| format!("{}/{protocol}", port.target));
    Some(ports)
}

/// Reads `[SOURCE:]TARGET[:OPTIONS]`.
pub(super) fn volume(text: &str) -> Result<ShortVolume, Problem> {
    if text.is_empty() {
        return Err("a volume must not be empty".into());
    }
    if text.len() <= 2 {
        return Ok(ShortVolume {
            target: text.to_owned(),
            bare: true,
            ..ShortVolume::default()
        });
    }
    let sections = volume_sections(text);
    if sections.iter().any(String::is_empty) {
        return Err("a section between colons is empty".into());
    }
    let mut volume = ShortVolume::default();
    match sections.as_slice() {
        [target] => volume.target.clone_from(target),
        [source, target, rest @ ..] => {
            volume.source.clone_from(source);
            volume.target.clone_from(target);
            let ([] | [_]) = rest else {
                return Err(Problem::from("there are too many colons").hinted(
                    "write `SOURCE:TARGET:OPTIONS` with commas between the options, or the long form",
                ));
            };
            volume.options = rest
                .iter()
                .flat_map(|options| volume_options(options))
                .collect();
        }
        [] => {}
    }
    Ok(volume)
}

/// Returns the options of a volume that are none, and are ignored as docker compose does.
pub(super) fn unknown_options(text: &str) -> Vec<String> {
    let sections = volume_sections(text);
    let [_, _, options] = sections.as_slice() else {
        return Vec::new();
    };
    let known = |option: &str| {
        // What a bind mount may also ask for, and engines read for themselves.
        const OTHERS: [&str; 7] = [
            "cached",
            "delegated",
            "consistent",
            "U",
            "O",
            "copy",
            "exec",
        ];
        VOLUME_OPTIONS.iter().any(|(name, _)| *name == option) || OTHERS.contains(&option)
    };
    let options = options.split(',').filter(|option| !known(option));
    options.map(str::to_owned).collect()
}

fn volume_options(text: &str) -> Vec<VolumeOption> {
    text.split(',')
        .filter_map(|option| {
            let known = VOLUME_OPTIONS.iter().find(|(name, _)| *name == option);
            known.map(|(_, option)| *option)
        })
        .collect()
}

/// Splits at colons, but not behind a drive letter and not inside `${…}`.
fn volume_sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    let mut braces = 0;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = sections.len() - 1;
        let section = &mut sections[last];
        match character {
            '$' if characters.peek() == Some(&'{') => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ':' if is_drive(section) => {}
            ':' if braces == 0 => {
                sections.push(String::new());
                continue;
            }
            _ => {}
        }
        section.push(character);
    }
    sections
}

fn is_drive(section: &str) -> bool {
    let mut characters = section.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next().is_none()
}

/// Says whether the source of a volume is a path of the host.
pub(super) fn is_host_path(source: &str) -> bool {
    if source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") {
        return true;
    }
    let mut characters = source.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next() == Some(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() -> Result<(), Problem> {
        let shown = |text: &str| -> Result<Vec<String>, Problem> {
            let ports = ports(text)?;
            Ok(ports
                .iter()
                .map(|port| {
                    format!(
                        "{}|{}|{}|{}",
                        port.host_ip, port.published, port.target, port.protocol
                    )
                })
                .collect())
        };
        assert_eq!(shown("80")?, ["||80|tcp"]);
        assert_eq!(shown("127.0.0.1:8080:80/udp")?, ["127.0.0.1|8080|80|udp"]);
        assert_eq!(shown("[::1]:1:2")?, ["::1|1|2|tcp"]);
        assert_eq!(shown("80-90:8080")?, ["|80-90|8080|tcp"]);
        assert_eq!(shown("9-10:19-20")?, ["|9|19|tcp", "|10|20|tcp"]);
        assert!(ports("1-2:3-5").is_err());
        assert!(ports("80/icmp").is_err());
        assert!(ports("70000").is_err());
        Ok(())
    }

    #[test]
    fn reads_volumes() -> Result<(), Problem> {
        let data = volume("./data:/var/lib:ro,z")?;
        assert_eq!(
            (data.source.as_str(), data.target.as_str()),
            ("./data", "/var/lib")
        );
        assert_eq!(
            data.options,
            [VolumeOption::ReadOnly, VolumeOption::Selinux("z")]
        );
        assert_eq!(volume("v:/v")?.target, "v:/v");
        assert!(volume("data:/a:ro:x").is_err());
        assert!(volume("data::ro").is_err());
        Ok(())
    }
}
