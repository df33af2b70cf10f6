//! Rolling updates: a steady client sees none, and a broken version is taken back.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::has_root;

type TestResult = Result<(), Box<dyn Error>>;

/// Answers each connection with its version, some time after its start; the broken one ends at once, and of the half
/// broken one the second replica.
const SERVER: &str = r#"use IO::Socket::INET; die 'no port to serve' if $ENV{VERSION} eq 'broken';
die 'no port for two' if $ENV{VERSION} eq 'half' and not mkdir '/flags/half';
select undef, undef, undef, 0.3;
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 64, ReuseAddr => 1) or die;
while (1) { my $client = $server->accept or next; <$client>; print $client "version $ENV{VERSION}\n"; close $client }
"#;

/// Asks by name, one request after the other, each once; tells each failure, and each version with its first answer.
const CLIENT: &str = r#"use IO::Socket::INET; $| = 1; my (%seen, $count);
$SIG{ALRM} = sub { print "FAILED: no answer\n"; exit 1 };
while (1) {
  alarm 10; my $answer = '';
  my $socket = IO::Socket::INET->new(PeerAddr => 'web', PeerPort => 80);
  if ($socket) { print $socket "\n"; $answer = <$socket> // ''; close $socket }
  if ($answer =~ /^version (\w+)/) { print "first of $1 after $count\n" unless $seen{$1}++; $count++ }
  else { print "FAILED: $!\n" }
  select undef, undef, undef, 0.003;
}
"#;

const COMPOSE: &str = "name: rolled
services:
  web:
    image: rootfs:/
    command: [perl, /app/server.pl]
    environment: {VERSION: \"${VERSION}\"}
    volumes: [./app:/app:ro, ./flags:/flags]
    stop_grace_period: 2s
    healthcheck:
      test: [CMD, perl, -MIO::Socket::INET, -e, \"exit !IO::Socket::INET->new('127.0.0.1:80')\"]
      interval: 1s
      start_period: 20s
      start_interval: 100ms
    deploy:
      replicas: 2
      update_config: {order: start-first, failure_action: rollback}
      rollback_config: {order: start-first}
  client:
    image: rootfs:/
    command: [perl, /app/client.pl]
    volumes: [./app:/app:ro]
    stop_grace_period: 0s
    init: true
    depends_on: {web: {condition: service_healthy}}
";

/// The project in an environment of its own.
struct Rolled(TestEnvironment);

impl Rolled {
    fn new() -> Result<Self, Box<dyn Error>> {
        let env = TestEnvironment::new()?;
        std::fs::create_dir(env.path("app"))?;
        std::fs::create_dir(env.path("flags"))?;
        std::fs::write(env.path("app/server.pl"), SERVER)?;
        std::fs::write(env.path("app/client.pl"), CLIENT)?;
        std::fs::write(env.path("compose.yaml"), COMPOSE)?;
        Ok(Self(env))
    }

    fn run(&self, version: &str, args: &[&str]) -> Result<CommandOutput, Box<dyn Error>> {
        let mut command = self.0.command(args);
        Ok(output(command.env("VERSION", version))?)
    }

    fn told(&self) -> Result<String, Box<dyn Error>> {
        let args = ["logs", "--no-color", "--no-log-prefix", "client"];
        Ok(self.run("one", &args)?.success().stdout)
    }

    /// Waits until the client has told something.
    fn until(&self, text: &str) -> Result<String, Box<dyn Error>> {
        let limit = Instant::now() + Duration::from_mins(1);
        loop {
            let told = self.told()?;
            if told.contains(text) {
                return Ok(told);
            }
            if Instant::now() > limit {
                return Err(format!("the client never told `{text}`: {told}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ids(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let listed = self.run("one", &["ps", "-q", "web"])?.success();
        let mut ids: Vec<String> = listed.stdout.lines().map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    }
}

#[test]
fn a_steady_client_sees_no_failure_while_versions_change() -> TestResult {
    if !has_root("rolling update") {
        return Ok(());
    }
    let project = Rolled::new()?;
    let _up = project.run("one", &["up", "-d"])?.success();
    project.until("first of one")?;
    let mut before = project.ids()?;
    for version in ["two", "three"] {
        let _updated = project.run(version, &["up", "-d"])?.success();
        let after = project.ids()?;
        assert_eq!(after.len(), 2);
        assert!(before.iter().all(|id| !after.contains(id)));
        before = after;
    }
    let told = project.until("first of three")?;
    assert!(!told.contains("FAILED"), "{told}");
    Ok(())
}

#[test]
fn a_broken_version_is_rolled_back_and_the_exit_code_says_so() -> TestResult {
    if !has_root("rollback") {
        return Ok(());
    }
    let project = Rolled::new()?;
    let _up = project.run("one", &["up", "-d"])?.success();
    project.until("first of one")?;
    let before = project.ids()?;
    let broken = project.run("broken", &["up", "-d"])?;
    assert_eq!(broken.status, 3, "{broken}");
    assert!(broken.stderr.contains("rolled back"), "{broken}");
    // The container has gone with its log: the report is where its reason is read.
    assert!(broken.stderr.contains("no port to serve"), "{broken}");
    assert_eq!(project.ids()?, before);
    let told = project.told()?;
    assert!(!told.contains("FAILED"), "{told}");
    // What was rolled back is as it was: nothing is left to do.
    let plan = project.run("one", &["plan", "--detailed-exitcode"])?;
    assert_eq!(plan.status, 0, "{plan}");
    Ok(())
}

#[test]
fn a_replica_that_is_rolled_back_is_asked_once_it_answers() -> TestResult {
    if !has_root("rollback of a replica") {
        return Ok(());
    }
    let project = Rolled::new()?;
    let _up = project.run("one", &["up", "-d"])?.success();
    project.until("first of one")?;
    let before = project.ids()?;
    let broken = project.run("half", &["up", "-d"])?;
    assert_eq!(broken.status, 3, "{broken}");
    assert!(broken.stderr.contains("no port for two"), "{broken}");
    assert_eq!(project.ids()?, before);
    let told = project.until("first of half")?;
    assert!(!told.contains("FAILED"), "{told}");
    Ok(())
}
