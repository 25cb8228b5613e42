"""Labels in plain numpy, for both sides: projection, boxes, poses, keypoints, flow. Imports numpy and errors alone."""
