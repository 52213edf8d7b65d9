"""Site files of executors that the project brings none for."""

LSF = """\
executor: lsf
queue: batch
project: abc123
exclusive: true
time: "2:00"
gpus: {v100: TeslaV100_SXM2_16GB}
command: apptainer exec --nv cloudmask.sif cloudmask-grid
data: /scratch/me/patches.h5
scenes: [/scratch/me/inference]
options: [-R, "rusage[mem=64GB]"]
"""
SSH = """\
executor: ssh
options: [-F, ssh_config]
hosts:
  - {host: me@dgx, folder: /raid/my runs, data: /raid/me/patches.h5, gpu: a100, devices: [0, 1],
     command: apptainer exec --nv cloudmask.sif cloudmask-grid, scenes: [/raid/me/inference]}
  - {host: desk, folder: /home/me, data: /home/me/patches.h5, gpu: v100}
"""
