"""Examine a director or real server (--doctor): what is wrong, why it matters, and the command
that fixes it. Nothing is changed.

facts.py holds what was read, host.py reads it, probe.py asks servers, codes.py lists what can be
found, director.py and real_server.py check, report.py renders text and JSON; ../commands/doctor.py
carries out the request.
"""
