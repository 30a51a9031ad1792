"""What ``transship sync`` copies, from the command line or a source file of skopeo's, to a plan of the same DAG.

Sources: skopeo-sync(1). Credentials are held in memory alone: no plan, checkpoint or message has them.
"""
