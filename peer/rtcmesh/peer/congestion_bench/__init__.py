"""What the congestion controls do: throughput, queue and fairness, on virtual time and by seed.

simulation   bulk flows over one bottleneck of the laboratory
situations   which flows share which bottleneck
run          all situations in worker processes, several seeds each
figures      what is read from a run
drawing      the same as pictures
results      tables, the page, the raw figures
"""
