//! Compiles Pulumi's protocol from `proto/` without a system `protoc`.

use std::error::Error;

use protox::prost_reflect::prost_types::field_descriptor_proto::Type;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = protox::compile(
        ["pulumi/provider.proto", "pulumi/engine.proto", "google/rpc/status.proto"],
        ["proto"],
    )?;
    // Strings and bytes look the same on the wire, and only bytes can refer to the compiled-in schema without a copy.
    for message in files.file.iter_mut().flat_map(|file| &mut file.message_type) {
        if message.name() == "GetSchemaResponse" {
            message.field.iter_mut().for_each(|field| field.set_type(Type::Bytes));
        }
    }
    tonic_prost_build::configure().bytes(".pulumirpc.GetSchemaResponse").compile_fds(files)?;
    Ok(())
}
