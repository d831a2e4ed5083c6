"""Other people's ways to serve the same model, each as its documentation shows it: `python -m tests.bench.servers.NAME
MODEL PORT`, until SIGTERM."""
