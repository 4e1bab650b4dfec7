"""EasyRec's protos; the Python modules are generated from the .proto files."""
