"""What leaves the house: MLCommons submissions, RO-Crates of runs, Croissant of the data set."""
