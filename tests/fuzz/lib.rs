//! Fuzz targets are ordinary tests. Each replays the inputs of its file in `inputs`, wherever its code stands;
//! `scripts/fuzz.sh` lets libFuzzer go on from them. `docs/fuzzing.md` says more.

use bolero::{BorrowedInput, ByteSliceGenerator, TestTarget};

#[cfg(fuzzing_libfuzzer)]
pub use bolero::DefaultEngine as Engine;
#[cfg(not(fuzzing_libfuzzer))]
pub use replay::Engine;

/// The target of this name, which is the name of its test and of no other target in any crate.
#[must_use]
pub fn target(name: &'static str) -> TestTarget<ByteSliceGenerator, Engine, BorrowedInput> {
    #[cfg(fuzzing_libfuzzer)]
    let (engine, _) = (Engine::default(), name);
    #[cfg(not(fuzzing_libfuzzer))]
    let engine = Engine { name };
    TestTarget::new(engine)
}

#[cfg(not(fuzzing_libfuzzer))]
mod replay {
    use std::fmt::Debug;
    use std::fs;

    use bolero::Test;
    use bolero::bolero_engine::input::Bytes;
    use bolero::bolero_engine::{driver::Options, panic};

    /// Runs a target on the inputs of its file.
    #[derive(Debug)]
    pub struct Engine {
        pub(super) name: &'static str,
    }

    impl<T: Test<Value: Debug>> bolero::Engine<T> for Engine {
        type Output = ();

        fn run(self, mut test: T, options: Options) {
            let file = format!("{}/inputs/{}", env!("CARGO_MANIFEST_DIR"), self.name);
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            let mut replayed = 0;
            panic::set_hook();
            for (at, line) in text.lines().enumerate().filter(|(_, line)| super::is_input(line)) {
                let input =
                    super::bytes(line).unwrap_or_else(|| panic!("{file}:{}: no input: {line}", at + 1));
                panic::forward_panic(false);
                let outcome = test.test(&mut Bytes::new(&input, &options));
                panic::forward_panic(true);
                if let Err(error) = outcome {
                    let value = test.generate_value(&mut Bytes::new(&input, &options));
                    panic!("{file}:{}: {error}\ninput: {value:#?}", at + 1);
                }
                replayed += 1;
            }
            assert!(replayed > 0, "{file} has no input");
        }
    }
}

/// Whether a line of a file of inputs is one: neither empty nor a comment.
#[cfg(any(test, not(fuzzing_libfuzzer)))]
fn is_input(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// The bytes of an input as its line writes them: printable ASCII is itself, everything else and the backslash is
/// `\xHH`. `corpus.py` writes such lines.
#[cfg(any(test, not(fuzzing_libfuzzer)))]
fn bytes(line: &str) -> Option<Vec<u8>> {
    let mut pieces = line.split("\\x");
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    // Whatever else begins with a backslash was written by hand, and means nothing.
    (!line.replace("\\x", "").contains('\\')).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{bytes, is_input};

    #[test]
    fn a_line_is_the_bytes_of_an_input() {
        assert_eq!(bytes("a b"), Some(b"a b".to_vec()));
        assert_eq!(bytes("\\x00\\xff1\\x5cx"), Some(b"\x00\xff1\\x".to_vec()));
        for broken in ["\\", "a\\n", "\\x0", "\\xgg"] {
            assert_eq!(bytes(broken), None, "{broken}");
        }
        assert!(is_input("\\x23") && !is_input("# a comment") && !is_input(""));
    }
}
