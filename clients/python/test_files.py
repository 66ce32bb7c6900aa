"""Files: uploaded, listed, read and deleted."""

import hashlib
import io
import os

import openai

from base import Case, client

ROWS = b"a,b\n" + b"1,2\n" * 1000


class Files(Case):
    def upload(self, name="rows.csv", content=ROWS, **options):
        options.setdefault("purpose", "user_data")
        file = self.client.files.create(file=(name, io.BytesIO(content)), **options)
        self.addCleanup(lambda: self.forget(file.id))
        return file

    def forget(self, file_id):
        try:
            self.client.files.delete(file_id)
        except openai.NotFoundError:
            pass

    def test_a_file_comes_back_as_it_went(self):
        content = os.urandom(3_000_000)
        file = self.upload("größe \"x\".bin", content)
        self.assertEqual((file.object, file.bytes, file.purpose), ("file", len(content), "user_data"))
        self.assertEqual(file.filename, "größe \"x\".bin")
        self.assertEqual(file.model_extra["sha256"], hashlib.sha256(content).hexdigest())
        self.assertEqual(self.client.files.retrieve(file.id), file)
        self.assertEqual(self.client.files.content(file.id).read(), content)
        self.assertEqual(self.client.files.wait_for_processing(file.id).status, "processed")
        deleted = self.client.files.delete(file.id)
        self.assertEqual((deleted.id, deleted.deleted, deleted.object), (file.id, True, "file"))
        with self.assertRaises(openai.NotFoundError):
            self.client.files.content(file.id)

    def test_lists_are_paged(self):
        made = [self.upload(f"{index}.csv", purpose="fine-tune").id for index in range(5)]
        seen = [file.id for file in self.client.files.list(limit=2, order="desc", purpose="fine-tune")]
        self.assertEqual(sorted(seen), sorted(made))
        self.assertEqual(len(self.client.files.list(limit=2).data), 2)
        self.assertEqual([file.id for file in self.client.files.list(purpose="batch")], [])

    def test_an_expiry(self):
        file = self.upload(expires_after={"anchor": "created_at", "seconds": 3600})
        self.assertEqual(file.expires_at, file.created_at + 3600)

    def test_mistakes_are_named(self):
        with self.assertRaises(openai.BadRequestError) as refused:
            self.upload(purpose="fun")
        self.assertEqual(refused.exception.param, "purpose")
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.client.files.retrieve("file-none")
        self.assertEqual(unknown.exception.code, "not_found")
        with self.assertRaises(openai.AuthenticationError):
            client(api_key="x").files.list()
