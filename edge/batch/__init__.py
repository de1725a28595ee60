"""Many pictures: shards that any engine can run, and the results in the formats that other tools expect.

look            the one function that looks at a card, whether it holds ten pictures or is a shard of a million
shards          a folder of shards: lists of pictures, and a file of results for each
local           the engine of this machine: a process for each core, a shard at a time
results         results read file by file, and written as one MegaDetector file, CSV or COCO Camera Traps
deployments     where the cameras stood, and what their clocks showed
camtrap_dp      a Camtrap DP package, written
camtrap_reader  and read, by any program
event_package   the events of an alarm as such a package
"""
