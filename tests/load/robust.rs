//! Broken input is refused or read, and never ends the program.

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::load_text;

const SAMPLE: &str = "\
name: s
x-base: &base
  image: nginx:${TAG:-1}
  environment: {A: 'é', B: \"${B:+x}\", C: }
services:
  web:
    <<: *base
    ports: ['127.0.0.1:80-81:90-91/udp', 443, {target: 1}]
    volumes: ['./a:/b:ro,z', 'data:/c', {type: tmpfs, target: /t, tmpfs: {size: 1m}}]
    command: sh -c 'echo $$X | cat' && x
    healthcheck: {test: curl x, interval: 1m30s}
    deploy: {resources: {limits: {cpus: '0.5', memory: 64m}}}
    depends_on: {db: {condition: service_healthy}}
    extra_hosts: ['h=1.2.3.4', 'v6:[::1]']
    ulimits: {nofile: {soft: 1, hard: 2}}
  db: {image: db, build: {context: ., args: [A, B=1]}, networks: [n]}
volumes: {data: {}}
networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}
";

#[test]
fn reads_the_sample() {
    assert!(load_text(SAMPLE).is_ok(), "{:?}", load_text(SAMPLE).err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn survives_changed_characters(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..4),
    ) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (index, character) in changes {
            let at = index.index(text.len());
            text[at] = character;
        }
        let text: String = text.into_iter().collect();
        let shown = load_text(&text).map(drop).map_err(|error| error.to_string());
        drop(shown);
    }

    #[test]
    fn survives_moved_pieces(
        from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), length in 1_usize..40,
    ) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        let start = from.index(text.len());
        let end = (start + length).min(text.len());
        let piece: Vec<char> = text.drain(start..end).collect();
        let at = to.index(text.len());
        text.splice(at..at, piece);
        let text: String = text.into_iter().collect();
        let shown = load_text(&text).map(drop).map_err(|error| error.to_string());
        drop(shown);
    }
}

#[test]
fn refuses_alias_bombs_at_once() {
    let mut bomb = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("x-{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
    }
    let error = load_text(&bomb).err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("aliases")));
}

#[test]
fn refuses_deep_nesting() {
    assert!(load_text(&format!("x-a: {}{}", "[".repeat(5000), "]".repeat(5000))).is_err());
}
