//! An image as lines that can be compared: its files after all layers, and its config.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Files older than this kept the time of their original.
const OLD: u64 = 1_500_000_000;
const SHOWN_MAX: usize = 200;

/// The lines of an image of an engine.
pub(super) fn dump(socket: &str, name: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let archive = get(socket, &format!("/images/{name}/get"))?;
    let mut members = BTreeMap::new();
    let mut reader = tar::Archive::new(archive.as_slice());
    for entry in reader.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.insert(path, bytes);
    }
    let member = |name: &str| members.get(name).ok_or_else(|| format!("no {name}"));
    let manifest: Value = serde_json::from_slice(member("manifest.json")?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let config: Value = serde_json::from_slice(member(&text(&manifest[0]["Config"]))?)?;
    let mut files = BTreeMap::new();
    for layer in manifest[0]["Layers"].as_array().into_iter().flatten() {
        add_layer(&mut files, member(&text(layer))?)?;
    }
    let mut lines: Vec<String> = files
        .into_iter()
        .map(|(path, line)| format!("/{path} {line}"))
        .collect();
    lines.extend(config_lines(&config));
    Ok(lines)
}

fn add_layer(files: &mut BTreeMap<String, String>, layer: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut reader = tar::Archive::new(layer);
    let below: Vec<String> = files.keys().cloned().collect();
    for entry in reader.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if path.is_empty() {
            continue;
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let gone = if folder.is_empty() {
                hidden.to_owned()
            } else {
                format!("{folder}/{hidden}")
            };
            let inside = if name == ".wh..wh..opq" {
                folder.to_owned()
            } else {
                gone.clone()
            };
            for old in &below {
                if *old == gone || old.starts_with(&format!("{inside}/")) {
                    files.remove(old);
                }
            }
            continue;
        }
        let header = entry.header().clone();
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
        let old = if header.mtime()? < OLD { " old" } else { "" };
        let line = match header.entry_type() {
            tar::EntryType::Directory => format!("dir {mode:04o} {uid}:{gid}"),
            tar::EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default();
                format!("link {mode:04o} {uid}:{gid} -> {}", target.display())
            }
            tar::EntryType::Link => {
                let target = entry.link_name()?.unwrap_or_default();
                let target = target.to_string_lossy();
                let target = target.trim_start_matches("./").trim_matches('/');
                files.get(target).cloned().unwrap_or_default()
            }
            _ => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                format!("file {mode:04o} {uid}:{gid} {}{old}", shown(&bytes))
            }
        };
        files.insert(path, line);
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= SHOWN_MAX => format!("\"{}\"", text.replace('\n', "\\n")),
        _ => hex::encode(Sha256::digest(bytes)),
    }
}

fn config_lines(config: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in config["config"].as_object().into_iter().flatten() {
        let entries = value.as_object().filter(|_| key != "Healthcheck");
        match (key.as_str(), value) {
            // A word of Windows, which only BuildKit adds.
            ("ArgsEscaped", _) => {}
            ("Env", Value::Array(pairs)) => {
                let pairs = pairs.iter().filter_map(Value::as_str);
                lines.extend(pairs.map(|pair| format!("config.Env {pair}")));
            }
            (_, Value::String(text)) if !text.is_empty() => {
                lines.push(format!("config.{key} {text}"));
            }
            _ if entries.is_some() => {
                for (name, value) in entries.into_iter().flatten() {
                    if name.starts_with("com.docker.compose") {
                        continue;
                    }
                    let text = value
                        .as_str()
                        .map(|text| format!("={text}"))
                        .unwrap_or_default();
                    lines.push(format!("config.{key} {name}{text}"));
                }
            }
            (_, Value::Array(items)) if items.is_empty() => {}
            (_, Value::Null | Value::Bool(false) | Value::String(_)) => {}
            _ => lines.push(format!("config.{key} {}", sorted(value))),
        }
    }
    for key in ["author", "os", "architecture"] {
        if let Some(text) = config[key].as_str().filter(|text| !text.is_empty()) {
            lines.push(format!("{key} {text}"));
        }
    }
    let steps = config["history"].as_array().into_iter().flatten();
    let steps: String = steps
        .map(|step| {
            if step["empty_layer"] == true {
                '-'
            } else {
                'L'
            }
        })
        .collect();
    lines.push(format!("history {steps}"));
    lines
}

/// JSON with its keys in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| key.as_str());
            let pairs: Vec<String> = keys
                .into_iter()
                .map(|(key, value)| format!("\"{key}\":{}", sorted(value)))
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        other => other.to_string(),
    }
}

fn get(socket: &str, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut stream = UnixStream::connect(socket)?;
    // HTTP/1.0: the body ends with the connection, and is in no chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("no head")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    if !head.contains(" 200 ") {
        return Err(format!("{head}{}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body)
}
