//! From a profile to the kernel's BPF: a search tree over ranges of numbers, so that a call costs about ten
//! instructions instead of one for each rule.

use std::collections::BTreeMap;

use super::number::{ARCHITECTURES, Architecture, numbers};
use super::profile::{Action, Condition, Operator, Profile};

/// One instruction of classic BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

impl Instruction {
    /// As the kernel reads it on a little-endian machine.
    pub(super) fn bytes(self) -> [u8; 8] {
        let [a, b] = self.code.to_le_bytes();
        let [c, d, e, f] = self.value.to_le_bytes();
        [a, b, self.jump_true, self.jump_false, c, d, e, f]
    }
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

fn plain(code: u16, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        value,
    }
}

/// What is done with one number: the first case whose conditions hold, then the default.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decision {
    cases: Vec<(Vec<Condition>, Action)>,
    otherwise: Action,
}

/// The whole program.
pub(super) fn program(profile: &Profile) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, OFFSET_ARCHITECTURE)];
    for architecture in ARCHITECTURES {
        let mut body = vec![plain(LOAD, OFFSET_NUMBER)];
        body.extend(tree(&ranges(
            &decisions(profile, *architecture),
            profile.default,
        )));
        // Too far for a conditional jump: over a long one.
        program.push(Instruction {
            code: JUMP_EQUAL,
            jump_true: 1,
            jump_false: 0,
            value: architecture.audit,
        });
        program.push(plain(JUMP, length(&body)));
        program.extend(body);
    }
    program.push(plain(RETURN, profile.default.0));
    program
}

fn length(code: &[Instruction]) -> u32 {
    u32::try_from(code.len()).unwrap_or(u32::MAX)
}

fn decisions(profile: &Profile, architecture: Architecture) -> BTreeMap<u32, Decision> {
    let numbers = numbers(architecture);
    let mut decisions: BTreeMap<u32, Decision> = BTreeMap::new();
    for rule in &profile.rules {
        for number in rule
            .names
            .iter()
            .filter_map(|name| numbers.get(name.as_str()))
        {
            let decision = decisions.entry(*number).or_insert_with(|| Decision {
                cases: Vec::new(),
                otherwise: profile.default,
            });
            if rule.conditions.is_empty() {
                decision.otherwise = rule.action;
            } else {
                decision.cases.push((rule.conditions.clone(), rule.action));
            }
        }
    }
    for decision in decisions.values_mut() {
        let otherwise = decision.otherwise;
        decision.cases.retain(|(_, action)| *action != otherwise);
    }
    decisions
}

/// Numbers from the first of a range to before the next one's are decided alike.
fn ranges(decisions: &BTreeMap<u32, Decision>, default: Action) -> Vec<(u32, Decision)> {
    let nothing = Decision {
        cases: Vec::new(),
        otherwise: default,
    };
    let mut ranges: Vec<(u32, Decision)> = vec![(0, nothing.clone())];
    let mut add = |first: u32, decision: &Decision| match ranges.last_mut() {
        Some((_, last)) if *last == *decision => {}
        Some((start, last)) if *start == first => *last = decision.clone(),
        _ => ranges.push((first, decision.clone())),
    };
    let mut next = 0;
    for (number, decision) in decisions {
        if *number > next {
            add(next, &nothing);
        }
        add(*number, decision);
        next = number + 1;
    }
    add(next, &nothing);
    ranges
}

fn tree(ranges: &[(u32, Decision)]) -> Vec<Instruction> {
    let [_, .., _] = ranges else {
        return ranges
            .first()
            .map(|(_, decision)| leaf(decision))
            .unwrap_or_default();
    };
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let middle = right.first().map_or(0, |(first, _)| *first);
    let (left, right) = (tree(left), tree(right));
    let mut code = match u8::try_from(left.len()) {
        Ok(jump_true) => vec![Instruction {
            code: JUMP_GREATER_OR_EQUAL,
            jump_true,
            jump_false: 0,
            value: middle,
        }],
        Err(_) => vec![
            Instruction {
                code: JUMP_GREATER_OR_EQUAL,
                jump_true: 0,
                jump_false: 1,
                value: middle,
            },
            plain(JUMP, length(&left)),
        ],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(decision: &Decision) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in &decision.cases {
        let mut steps: Vec<Step> = conditions.iter().flat_map(compare).collect();
        steps.push(Step {
            instruction: plain(RETURN, action.0),
            on_true: Target::Next,
            on_false: Target::Next,
        });
        code.extend(link(&steps));
    }
    code.push(plain(RETURN, decision.otherwise.0));
    code
}

/// Where a jump inside a case goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// To the next instruction.
    Next,
    /// Over as many instructions: the condition holds.
    Skip(u8),
    /// Out of the case: the condition does not hold.
    Fail,
}

struct Step {
    instruction: Instruction,
    on_true: Target,
    on_false: Target,
}

fn link(steps: &[Step]) -> impl Iterator<Item = Instruction> {
    let count = steps.len();
    steps.iter().enumerate().map(move |(index, step)| {
        let offset = |target| match target {
            Target::Next => 0,
            Target::Skip(count) => count,
            Target::Fail => u8::try_from(count - index - 1).unwrap_or(u8::MAX),
        };
        let mut instruction = step.instruction;
        instruction.jump_true = offset(step.on_true);
        instruction.jump_false = offset(step.on_false);
        instruction
    })
}

/// Compares an argument of 64 bits in halves, the higher one first.
fn compare(condition: &Condition) -> Vec<Step> {
    use Target::{Fail, Next, Skip};
    let step = |code, value, on_true, on_false| Step {
        instruction: plain(code, value),
        on_true,
        on_false,
    };
    let low_offset = OFFSET_ARGUMENTS + 8 * condition.index;
    let high = step(LOAD, low_offset + 4, Next, Next);
    let low = step(LOAD, low_offset, Next, Next);
    let (value, two) = (halves(condition.value), halves(condition.value_two));
    match condition.op {
        Operator::Equal => vec![
            high,
            step(JUMP_EQUAL, value.0, Next, Fail),
            low,
            step(JUMP_EQUAL, value.1, Next, Fail),
        ],
        Operator::Unequal => vec![
            high,
            step(JUMP_EQUAL, value.0, Next, Skip(2)),
            low,
            step(JUMP_EQUAL, value.1, Fail, Next),
        ],
        Operator::MaskedEqual => vec![
            high,
            step(AND, value.0, Next, Next),
            step(JUMP_EQUAL, two.0, Next, Fail),
            low,
            step(AND, value.1, Next, Next),
            step(JUMP_EQUAL, two.1, Next, Fail),
        ],
        Operator::Greater | Operator::GreaterOrEqual => {
            let last = if condition.op == Operator::Greater {
                JUMP_GREATER
            } else {
                JUMP_GREATER_OR_EQUAL
            };
            vec![
                high,
                step(JUMP_GREATER, value.0, Skip(3), Next),
                step(JUMP_EQUAL, value.0, Next, Fail),
                low,
                step(last, value.1, Next, Fail),
            ]
        }
        Operator::Less | Operator::LessOrEqual => {
            let last = if condition.op == Operator::Less {
                JUMP_GREATER_OR_EQUAL
            } else {
                JUMP_GREATER
            };
            vec![
                high,
                step(JUMP_GREATER, value.0, Fail, Next),
                step(JUMP_EQUAL, value.0, Next, Skip(2)),
                low,
                step(last, value.1, Fail, Next),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}
