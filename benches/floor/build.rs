//! Compiles Pulumi's protocol as the plugin's own build does. Methods that the floor lacks answer "unimplemented".

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(["pulumi/provider.proto"], ["../../proto"])?;
    tonic_prost_build::configure().build_client(false).generate_default_stubs(true).compile_fds(files)?;
    Ok(())
}
