"""Times scikit-learn's logistic regression on a file of numbers: python logistic.py FIXTURE.csv [REPEATS]

The loss is the one that is minimised, so that times are compared at the same loss. The best of its solvers counts.
"""

import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression

table = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
x, y = table[:, :-1], table[:, -1]
for solver, tol in [("lbfgs", 1e-4), ("lbfgs", 1e-6), ("newton-cholesky", 1e-4), ("newton-cholesky", 1e-6)]:
    times = []
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 21):
        start = time.perf_counter()
        model = LogisticRegression(C=1.0, solver=solver, tol=tol, max_iter=10000).fit(x, y)
        times.append(time.perf_counter() - start)
    log = model.predict_log_proba(x)
    loss = -log[np.arange(len(y)), y.astype(int)].sum() + 0.5 * (model.coef_**2).sum()
    print(f"{solver} tol={tol}: {sorted(times)[len(times) // 2] * 1e3:.2f} ms, loss {loss}, {model.n_iter_[0]} iterations")
