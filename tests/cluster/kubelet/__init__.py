"""A kubelet whose containers are local processes: it plays the nodes of a control plane made of real components.

What is not faithful is said in `kubelet.py`.
"""
