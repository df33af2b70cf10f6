//! The steps of builds on a terminal: one line each, the last output below those that run, nothing of it when they end.
//!
//! ```text
//!  => CACHED [app 1/3] FROM base                     0.0s
//!  => [app 2/3] RUN make                             3.1s     stays: the step has ended
//!  => [app 3/3] RUN make test                        1.4s     redrawn in place
//!  => => ok 12 tests
//! ```
//!
//! Reads the lines that `BuildKit`'s plain progress has, which all builders here speak (`#2 [app 2/3] RUN make`,
//! `#2 0.214 output`, `#2 DONE 3.1s`). Called by the live table.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use indexmap::IndexMap;

/// As many lines of a running step's output are shown.
const TAIL: usize = 6;

/// An image and the number of a step of its build.
type Key = (String, String);

/// The steps of all builds.
#[derive(Debug, Default)]
pub(super) struct BuildSteps {
    running: IndexMap<Key, Step>,
    ended: BTreeSet<Key>,
}

#[derive(Debug)]
struct Step {
    name: String,
    since: Instant,
    tail: VecDeque<String>,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something said beside the steps.
    Said,
    /// A step that has ended well.
    Done,
    /// A step that has failed.
    Failed,
}

/// A line that stays.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// What it says.
    pub(super) text: String,
    /// How it is meant.
    pub(super) outcome: Outcome,
}

impl BuildSteps {
    /// Whether no step runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a line of an image's build; what of it stays on the terminal.
    pub(super) fn take(&mut self, image: &str, line: &str, width: usize) -> Option<Told> {
        let said = || Told {
            text: line.to_owned(),
            outcome: Outcome::Said,
        };
        if line.trim().is_empty() {
            return None;
        }
        let Some((number, rest)) = numbered(line) else {
            return Some(said());
        };
        let key = (image.to_owned(), number.to_owned());
        let Some(end) = End::of(rest) else {
            self.go_on(key, rest);
            return None;
        };
        self.ended.insert(key.clone());
        let step = self.running.shift_remove(&key)?;
        let (mark, outcome) = match end {
            End::Done => ("", Outcome::Done),
            End::Cached => ("CACHED ", Outcome::Done),
            End::Cancelled => ("CANCELED ", Outcome::Said),
            End::Failed => ("ERROR ", Outcome::Failed),
        };
        let seconds = match end {
            End::Cached => 0.0,
            _ => step.since.elapsed().as_secs_f64(),
        };
        Some(Told {
            text: step_line(&format!("{mark}{}", step.name), seconds, width),
            outcome,
        })
    }

    /// A step begins, or says something.
    fn go_on(&mut self, key: Key, rest: &str) {
        if let Some(step) = self.running.get_mut(&key) {
            // Its name is repeated when another step spoke in between.
            if rest != step.name {
                if step.tail.len() == TAIL {
                    step.tail.pop_front();
                }
                step.tail.push_back(output(rest).to_owned());
            }
        } else if !self.ended.contains(&key) || rest.starts_with('[') {
            self.ended.remove(&key);
            let step = Step {
                name: rest.to_owned(),
                since: Instant::now(),
                tail: VecDeque::new(),
            };
            self.running.insert(key, step);
        }
    }

    /// The running steps with their last output, as much as fits.
    pub(super) fn live(&self, width: usize, room: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for step in self.running.values() {
            let seconds = step.since.elapsed().as_secs_f64();
            lines.push(step_line(&step.name, seconds, width));
            let tail = step.tail.iter();
            lines.extend(tail.map(|text| cut(&format!(" => => {text}"), width)));
        }
        lines.split_off(lines.len().saturating_sub(room))
    }
}

/// How a step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Cached,
    Cancelled,
    Failed,
}

impl End {
    fn of(rest: &str) -> Option<Self> {
        match rest {
            "CACHED" => Some(Self::Cached),
            "CANCELED" => Some(Self::Cancelled),
            _ if rest.starts_with("ERROR") => Some(Self::Failed),
            _ if rest.starts_with("DONE ") => Some(Self::Done),
            _ => None,
        }
    }
}

/// The number and the rest of `#12 rest`.
fn numbered(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((number, rest))
}

/// Output without the time before it.
fn output(rest: &str) -> &str {
    match rest.split_once(' ') {
        Some((time, text)) if time.contains('.') && time.parse::<f64>().is_ok() => text,
        _ => rest,
    }
}

fn step_line(name: &str, seconds: f64, width: usize) -> String {
    let room = width.saturating_sub(12);
    let left: String = format!(" => {name}").chars().take(room).collect();
    format!("{left:<room$}  {seconds:>6.1}s")
}

/// One line of the terminal: no escape sequence of a program may draw over others.
fn cut(text: &str, width: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 40;

    fn told(steps: &mut BuildSteps, lines: &[&str]) -> Vec<(String, Outcome)> {
        let told = lines
            .iter()
            .filter_map(|line| steps.take("app", line, WIDTH));
        // The time differs from run to run.
        told.map(|told| (told.text.replace("0.1s", "0.0s"), told.outcome))
            .collect()
    }

    fn shown(steps: &BuildSteps) -> Vec<String> {
        let lines = steps.live(WIDTH, 20).into_iter();
        lines.map(|line| line.replace("0.1s", "0.0s")).collect()
    }

    #[test]
    fn a_step_that_ended_is_one_line() {
        let mut steps = BuildSteps::default();
        let lines = [
            "#1 [1/2] FROM base",
            "#1 CACHED",
            "",
            "#2 [2/2] RUN make",
            "#2 0.214 cc x.c",
        ];
        let cached = format!("{:<28}  {:>6.1}s", " => CACHED [1/2] FROM base", 0.0);
        assert_eq!(told(&mut steps, &lines), [(cached, Outcome::Done)]);
        assert_eq!(
            shown(&steps).last().map(String::as_str),
            Some(" => => cc x.c")
        );
        let done = told(&mut steps, &["#2 DONE 0.9s"]);
        assert_eq!(done[0].1, Outcome::Done);
        assert_eq!(
            done[0].0,
            format!("{:<28}  {:>6.1}s", " => [2/2] RUN make", 0.0)
        );
        assert!(steps.is_empty());
    }

    #[test]
    fn only_the_last_output_of_a_running_step_is_shown() {
        let mut steps = BuildSteps::default();
        told(&mut steps, &["#1 [1/1] RUN seq"]);
        for number in 0..20 {
            told(&mut steps, &[&format!("#1 0.1 line {number}")]);
        }
        let shown = shown(&steps);
        assert_eq!(shown.len(), 1 + TAIL);
        assert_eq!(shown[1], " => => line 14");
        assert_eq!(steps.live(WIDTH, 2), [" => => line 18", " => => line 19"]);
    }

    #[test]
    fn a_failed_step_and_what_is_said_beside_stay() {
        let mut steps = BuildSteps::default();
        let lines = [
            "#3 [3/3] RUN false",
            "#3 ERROR: exit code: 1",
            "Dockerfile:3",
        ];
        let told = told(&mut steps, &lines);
        assert_eq!(told[0].1, Outcome::Failed);
        assert!(told[0].0.starts_with(" => ERROR [3/3] RUN false"));
        assert_eq!(told[1], ("Dockerfile:3".to_owned(), Outcome::Said));
    }

    #[test]
    fn builds_of_two_images_are_held_apart() {
        let mut steps = BuildSteps::default();
        steps.take("one", "#1 [1/1] RUN a", WIDTH);
        steps.take("two", "#1 [1/1] RUN b", WIDTH);
        steps.take("one", "#1 DONE 0.1s", WIDTH);
        assert!(steps.live(WIDTH, 9)[0].starts_with(" => [1/1] RUN b"));
    }

    #[test]
    fn a_name_that_is_said_again_is_no_output() {
        let mut steps = BuildSteps::default();
        let lines = [
            "#1 [1/1] RUN a",
            "#1 [1/1] RUN a",
            "#1 DONE 0.1s",
            "#1 DONE 0.1s",
        ];
        assert_eq!(told(&mut steps, &lines).len(), 1);
        assert!(steps.is_empty());
    }

    #[test]
    fn output_cannot_draw_over_the_terminal() {
        let mut steps = BuildSteps::default();
        told(&mut steps, &["#1 [1/1] RUN a", "#1 0.1 a\x1b[2Jb"]);
        assert_eq!(shown(&steps)[1], " => => a [2Jb");
    }
}
