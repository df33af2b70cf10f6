//! Logs of several containers as one text: whole lines only, each with the name of its source before it.
//!
//! ```text
//! source 0  "hel" "lo\n"   --> cut into lines --> "web-1     | hello\n"
//! source 1  "ready\n"      -------------------->  "worker-1  | ready\n"
//! ```
//!
//! Writing is buffered; the caller flushes when nothing more is at hand.

use std::io::{BufWriter, Stderr, Stdout, Write};

use super::style::{log_colour, watch_colour};
use super::{Colour, Ui};

/// Whether lines begin with the name of their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// They do.
    Name,
    /// They do not.
    None,
}

/// Where a container's standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// To standard output, with the rest.
    Merged,
    /// To standard error.
    Split,
}

/// An output of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// How lines are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogStyle {
    /// Whether names come first.
    pub(crate) prefix: Prefix,
    /// Whether the names are coloured.
    pub(crate) colour: Colour,
    /// Where standard error goes.
    pub(crate) streams: Streams,
}

impl LogStyle {
    /// The style that flags ask for.
    pub(crate) fn from_flags(
        ui: &Ui,
        (no_prefix, no_colour): (bool, bool),
        streams: Streams,
    ) -> Self {
        Self {
            prefix: if no_prefix {
                Prefix::None
            } else {
                Prefix::Name
            },
            colour: if no_colour {
                Colour::Off
            } else {
                ui.stdout_colour()
            },
            streams,
        }
    }
}

#[derive(Debug, Default)]
struct Source {
    name: String,
    prefix: String,
    partial: [Vec<u8>; 2],
}

/// The multiplexer.
#[derive(Debug)]
pub(crate) struct LogMux<O: Write = BufWriter<Stdout>, E: Write = BufWriter<Stderr>> {
    out: O,
    error: E,
    style: LogStyle,
    width: usize,
    sources: Vec<Source>,
    menu: Menu,
}

/// The line of keys below the logs.
#[derive(Debug, Default)]
struct Menu {
    text: String,
    drawn: bool,
}

impl LogMux {
    /// One that writes to the process's streams.
    pub(crate) fn new(style: LogStyle) -> Self {
        Self::to(
            BufWriter::with_capacity(64 * 1024, std::io::stdout()),
            BufWriter::new(std::io::stderr()),
            style,
        )
    }
}

impl<O: Write, E: Write> LogMux<O, E> {
    fn to(out: O, error: E, style: LogStyle) -> Self {
        Self {
            out,
            error,
            style,
            width: 0,
            sources: Vec::new(),
            menu: Menu::default(),
        }
    }

    /// Adds a source and answers its number; one that is known keeps its number.
    pub(crate) fn source(&mut self, name: &str) -> usize {
        if let Some(known) = self.sources.iter().position(|source| source.name == name) {
            return known;
        }
        self.sources.push(Source {
            name: name.to_owned(),
            ..Source::default()
        });
        self.width = self.width.max(name.chars().count() + 1);
        self.pad();
        self.sources.len() - 1
    }

    fn pad(&mut self) {
        for (number, source) in self.sources.iter_mut().enumerate() {
            let text = format!("{:<width$} | ", source.name, width = self.width);
            source.prefix = match self.style.prefix {
                Prefix::Name => log_colour(self.style.colour, number, &text),
                Prefix::None => String::new(),
            };
        }
    }

    /// Takes a piece of a source's output and writes the lines that are whole.
    pub(crate) fn write(
        &mut self,
        source: usize,
        output: Output,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let partial = &mut self.sources[source].partial[output as usize];
        let joined;
        let bytes = if partial.is_empty() {
            bytes
        } else {
            partial.extend_from_slice(bytes);
            joined = std::mem::take(partial);
            &joined
        };
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.sources[source].partial[output as usize].extend_from_slice(&bytes[whole..]);
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            self.line(source, output, line)?;
        }
        Ok(())
    }

    /// Keeps a line below the logs; an empty one takes it away.
    pub(crate) fn menu(&mut self, text: &str) -> std::io::Result<()> {
        self.clear_menu()?;
        text.clone_into(&mut self.menu.text);
        self.flush()
    }

    fn clear_menu(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.menu.drawn) {
            self.out.write_all(b"\r\x1b[2K")?;
            // Standard error may be the same terminal.
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes a line of the watch among the logs.
    pub(crate) fn watch(&mut self, line: &str) -> std::io::Result<()> {
        self.clear_menu()?;
        let mark = match self.style.prefix {
            Prefix::Name => format!("{:width$} ⦿ ", "", width = self.width),
            Prefix::None => String::new(),
        };
        writeln!(self.out, "{}{line}", watch_colour(self.style.colour, &mark))
    }

    fn line(&mut self, source: usize, output: Output, line: &[u8]) -> std::io::Result<()> {
        self.clear_menu()?;
        let prefix = self.sources[source].prefix.as_bytes();
        if output == Output::Error && self.style.streams == Streams::Split {
            self.error.write_all(prefix)?;
            return self.error.write_all(line);
        }
        self.out.write_all(prefix)?;
        self.out.write_all(line)
    }

    /// Ends a source: a last line without an end gets one.
    pub(crate) fn end(&mut self, source: usize) -> std::io::Result<()> {
        for output in [Output::Out, Output::Error] {
            let mut rest = std::mem::take(&mut self.sources[source].partial[output as usize]);
            if !rest.is_empty() {
                rest.push(b'\n');
                self.line(source, output, &rest)?;
            }
        }
        Ok(())
    }

    /// Writes a line of ours about a source (behaviours.md B216).
    pub(crate) fn status(&mut self, source: usize, text: &str) -> std::io::Result<()> {
        self.end(source)?;
        self.clear_menu()?;
        let name = &self.sources[source].name;
        // What a key pressed at a terminal left there, such as `^C`.
        let clear = match self.style.colour {
            Colour::On => "\r\x1b[K",
            Colour::Off => "",
        };
        writeln!(self.out, "{clear}{name} {text}")?;
        self.flush()
    }

    /// Hands everything to the terminal.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()?;
        self.error.flush()?;
        if !self.menu.drawn && !self.menu.text.is_empty() {
            self.out.write_all(self.menu.text.as_bytes())?;
            self.out.flush()?;
            self.menu.drawn = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Colour, LogMux, LogStyle, Output, Prefix, Streams};

    type Mux = LogMux<Vec<u8>, Vec<u8>>;

    fn mux(prefix: Prefix, colour: Colour, streams: Streams) -> Mux {
        let style = LogStyle {
            prefix,
            colour,
            streams,
        };
        LogMux::to(Vec::new(), Vec::new(), style)
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn names_are_padded_to_the_longest() -> std::io::Result<()> {
        let mut mux = mux(Prefix::Name, Colour::Off, Streams::Merged);
        let (web, worker) = (mux.source("web-1"), mux.source("worker-1"));
        mux.write(web, Output::Out, b"a\nb\n")?;
        mux.write(worker, Output::Error, b"c\n")?;
        assert_eq!(
            text(&mux.out),
            "web-1     | a\nweb-1     | b\nworker-1  | c\n"
        );
        Ok(())
    }

    #[test]
    fn pieces_of_a_line_are_joined_and_the_last_line_gets_an_end() -> std::io::Result<()> {
        let mut mux = mux(Prefix::Name, Colour::Off, Streams::Split);
        let web = mux.source("web");
        mux.write(web, Output::Out, b"hel")?;
        mux.write(web, Output::Error, b"oops\n")?;
        mux.write(web, Output::Out, b"lo\nrest")?;
        mux.end(web)?;
        assert_eq!(text(&mux.out), "web  | hello\nweb  | rest\n");
        assert_eq!(text(&mux.error), "web  | oops\n");
        Ok(())
    }

    #[test]
    fn prefixes_are_coloured_in_turn() -> std::io::Result<()> {
        let mut mux = mux(Prefix::Name, Colour::On, Streams::Merged);
        let (a, b) = (mux.source("a"), mux.source("b"));
        mux.write(a, Output::Out, b"1\n")?;
        mux.write(b, Output::Out, b"2\n")?;
        assert_eq!(
            text(&mux.out),
            "\x1b[36ma  | \x1b[0m1\n\x1b[33mb  | \x1b[0m2\n"
        );
        Ok(())
    }

    #[test]
    fn lines_of_the_watch_stand_behind_the_names() -> std::io::Result<()> {
        let mut mux = mux(Prefix::Name, Colour::Off, Streams::Merged);
        let web = mux.source("web-1");
        mux.write(web, Output::Out, b"x\n")?;
        mux.watch("Watch enabled")?;
        assert_eq!(text(&mux.out), "web-1  | x\n       ⦿ Watch enabled\n");
        Ok(())
    }

    #[test]
    fn the_menu_is_taken_away_before_a_line_and_comes_back_below_it() -> std::io::Result<()> {
        let mut mux = mux(Prefix::None, Colour::Off, Streams::Merged);
        let web = mux.source("web-1");
        mux.menu("keys")?;
        mux.write(web, Output::Out, b"x\n")?;
        mux.flush()?;
        mux.menu("")?;
        assert_eq!(text(&mux.out), "keys\r\x1b[2Kx\nkeys\r\x1b[2K");
        Ok(())
    }

    #[test]
    fn without_prefix_lines_stay_as_they_are() -> std::io::Result<()> {
        let mut mux = mux(Prefix::None, Colour::On, Streams::Merged);
        let web = mux.source("web");
        mux.write(web, Output::Out, b"x\n")?;
        assert_eq!(text(&mux.out), "x\n");
        Ok(())
    }
}
