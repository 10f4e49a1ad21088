// OpenCLBackend
