//! What the doctor prints: headings, and under them one line for each thing that it looked at.

use std::io::{self, Write};

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is as it should be.
    Ok,
    /// It is a fact, neither good nor bad.
    Note,
    /// It works, but should not stay so.
    Warning,
    /// `pulumi up` fails because of it.
    Problem,
}

impl Mark {
    /// The word for it, and its colour on a terminal.
    fn word(self) -> (&'static str, &'static str) {
        match self {
            Mark::Ok => ("ok", "\x1b[32m"),
            Mark::Note => ("-", "\x1b[2m"),
            Mark::Warning => ("warning", "\x1b[33m"),
            Mark::Problem => ("PROBLEM", "\x1b[1;31m"),
        }
    }
}

/// Width of the words before the lines, so that the texts after them are aligned.
const WIDTH: usize = 7;

/// Where the lines go, and how many of them were bad.
pub(super) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    colours: bool,
    pub(super) problems: usize,
    pub(super) warnings: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), colours: bool) -> Self {
        Report { out, colours, problems: 0, warnings: 0 }
    }

    /// Begins a part.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let (bold, plain) = if self.colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "\n{bold}{text}{plain}")
    }

    /// A line of text of its own.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// One thing that was looked at. It is shown at once: the next may take a while.
    pub(super) fn line(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        match mark {
            Mark::Problem => self.problems += 1,
            Mark::Warning => self.warnings += 1,
            Mark::Ok | Mark::Note => {}
        }
        let (word, colour) = mark.word();
        let (colour, plain) = if self.colours { (colour, "\x1b[0m") } else { ("", "") };
        // What others say may have several lines.
        let text = text.replace('\n', &format!("\n  {:WIDTH$}  ", ""));
        writeln!(self.out, "  {colour}{word:WIDTH$}{plain}  {text}")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(colours: bool) -> String {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, colours);
        report.heading("Part").unwrap();
        report.line(Mark::Ok, "fine").unwrap();
        report.line(Mark::Problem, "bad\nvery").unwrap();
        assert_eq!((report.problems, report.warnings), (1, 0));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_stand_under_each_other() {
        assert_eq!(printed(false), "\nPart\n  ok       fine\n  PROBLEM  bad\n           very\n");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(printed(true).contains("\x1b[32mok     \x1b[0m  fine"));
        assert!(!printed(false).contains('\x1b'));
    }
}
