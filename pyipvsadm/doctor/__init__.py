"""`--doctor`: what is wrong around the table, why it matters, and the command that mends it.
Nothing is changed.

facts.py what was read · host.py the reading · probe.py the asking of servers · codes.py what can be
found · director.py, doctor/real_server.py the checks · report.py text and JSON ·
../commands/doctor.py a Request to an exit status.
"""
