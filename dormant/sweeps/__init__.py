"""Many jobs, each with a folder of its own, on this machine, a Ray cluster or SLURM; the same call resumes."""
